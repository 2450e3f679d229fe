"""The fixtures hand out servers that work and places that are empty."""

import kombu
import psycopg
import pytest
import redis


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_database_of_this_test_is_empty(empty_postgres_url: str, round_number: int) -> None:
    """What the round before made is not seen."""
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("create table made_by_the_round (n int)")


def test_the_database_of_the_process_answers(postgres_url: str, run_name: str) -> None:
    """It is the one that was made for this process."""
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select current_database()").fetchone() == (run_name,)


def test_a_message_goes_round(amqp_url: str, unique: str) -> None:
    """The vhost accepts queues and messages."""
    options = {"auto_delete": True, "durable": False}
    with kombu.Connection(amqp_url) as connection, connection.SimpleQueue(unique, queue_opts=options) as queue:
        queue.put("hint")
        message = queue.get(timeout=10)
        message.ack()
        assert message.payload == "hint"


def test_a_redis_database_is_ours(redis_url: str, unique: str) -> None:
    """It accepts keys, and it is not database 0, which others may use."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.set(unique, "x", ex=60)
    assert not redis_url.endswith("/0")
