"""What the shipping service can be asked: prices, addresses, labels out and labels back."""

from saga.places import country_code
from services.shipping.addresses import delivered, postcode_of, undeliverable
from services.shipping.labels import book, buy_return, dispatch, void, void_return
from services.shipping.models import (
    Address,
    Dispatch,
    DispatchRequest,
    QuoteRequest,
    ReturnLabel,
    ReturnLabelRequest,
    Shipment,
    ShipmentRequest,
    ShippingQuote,
    ValidAddress,
)
from services.shipping.tables import LEDGER_COLUMNS, METADATA, VOIDED
from services.shipping.tariff import business_days_after, tariff
from services.skeleton.service import Context, Operation, Service

HOME = {
    "name": "Zoë Müller",
    "street": "1 High Street",
    "city": "Leeds",
    "postcode": "LS1 1AA",
    "country": "United Kingdom",
}
SHIPMENT_ID, LABEL_ID = "S-k5xq2m7daa3s6tcl4wpnb9ryvhgeufjo", "L-c3dn7wq2xk5matf6sblp4gryovhuejaz"
BOUGHT = {"kind": "label", "unit": "eurolane", "quantity": 1, "sign": 1, "expires_at": None}


def quote(context: Context, request: QuoteRequest) -> ShippingQuote:
    """`POST /v1/quotes`: the price by zone and weight, and the days on which the parcel may arrive."""
    table = tariff()
    factor = table.factors.get(request.currency)
    if factor is None:
        raise undeliverable([("currency", f"is not in the price list; there are {', '.join(sorted(table.factors))}")])
    code = country_code(request.country)
    # A country that nobody knows has no rules by postcode.
    zone = table.zone_of(code, postcode_of(request.postcode or "", code)) if code else table.zone_of("")
    weight_g = request.item_count * (request.weight_g or table.default_item_weight_g)
    today, (days_min, days_max) = context.now().date(), zone.days
    return ShippingQuote(
        amount=zone.price(weight_g) * factor,
        currency=request.currency,
        carrier=zone.carrier,
        days=days_max,
        days_min=days_min,
        zone=zone.name,
        weight_g=weight_g,
        delivery_from=business_days_after(today, days_min),
        delivery_to=business_days_after(today, days_max),
    )


def validate_address(_context: Context, request: Address) -> ValidAddress:
    """`POST /v1/address-validations`."""
    address = delivered(request)
    return ValidAddress(valid=True, country_code=address.country_code, address=address)


SERVICE = Service(
    name="shipping",
    metadata=METADATA,
    ledger_columns=LEDGER_COLUMNS,
    operations=(
        Operation(
            "/v1/quotes",
            QuoteRequest,
            ShippingQuote,
            quote,
            is_readonly=True,
            rejections={"undeliverable": 409},
            example={"country": "Germany", "postcode": "10115", "currency": "EUR", "item_count": 3, "weight_g": 400},
            answer_example={
                "amount": 1145,
                "currency": "EUR",
                "carrier": "eurolane",
                "days": 5,
                "days_min": 3,
                "zone": "europe",
                "weight_g": 1200,
                "delivery_from": "2026-11-25",
                "delivery_to": "2026-11-27",
            },
        ),
        Operation(
            "/v1/address-validations",
            Address,
            ValidAddress,
            validate_address,
            is_readonly=True,
            rejections={"undeliverable": 409},
            example=HOME,
            answer_example={
                "valid": True,
                "country_code": "GB",
                "address": {
                    "name": "Zoë Müller",
                    "street": "1 High Street",
                    "city": "LEEDS",
                    "postcode": "LS1 1AA",
                    "region": "",
                    "country_code": "GB",
                    "street2": "",
                    "company": "",
                    "phone": "",
                },
            },
        ),
        Operation(
            "/v1/shipments",
            ShipmentRequest,
            Shipment,
            book,
            undo=void,
            status=201,
            rejections={"undeliverable": 409, "numbers_used_up": 409},
            example={"order_id": "SO-1001", "carrier": "eurolane", "address": HOME, "item_count": 3},
            answer_example={
                "shipment_id": SHIPMENT_ID,
                "tracking": "CP473124829GB",
                "carrier": "eurolane",
                "effects": [BOUGHT],
            },
        ),
        Operation(
            "/v1/shipments/dispatch",
            DispatchRequest,
            Dispatch,
            dispatch,
            rejections={VOIDED: 409},
            example={"shipment_id": SHIPMENT_ID},
            answer_example={
                "shipment_id": SHIPMENT_ID,
                "dispatched": True,
                "tracking": "CP473124829GB",
                "effects": [],
            },
        ),
        Operation(
            "/v1/return-labels",
            ReturnLabelRequest,
            ReturnLabel,
            buy_return,
            undo=void_return,
            status=201,
            rejections={"not_dispatched": 409, "numbers_used_up": 409},
            example={"order_id": "SO-1001", "return_id": "RMA-1", "shipment_id": SHIPMENT_ID},
            answer_example={
                "return_label_id": LABEL_ID,
                "shipment_id": SHIPMENT_ID,
                "tracking": "CP201765438DE",
                "carrier": "eurolane",
                "effects": [BOUGHT],
            },
        ),
    ),
)
