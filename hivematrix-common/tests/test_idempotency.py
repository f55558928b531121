from typing import Any

from sqlalchemy import text


def notes(toy: Any) -> list[str]:
    return toy.get("/api/notes").get_json()


def test_the_same_key_and_body_again_gives_the_stored_answer_and_no_second_fact(toy: Any) -> None:
    first = toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    again = toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, first.data) == (again.status_code, again.data)
    assert again.headers["Idempotent-Replay"] == "true"
    assert notes(toy) == ["a"]


def test_the_same_key_with_another_body_is_refused(toy: Any) -> None:
    toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    answer = toy.post("/api/notes", json={"text": "b"}, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_mismatch")
    assert notes(toy) == ["a"]


def test_keys_belong_to_their_caller(toy: Any) -> None:
    toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    answer = toy.post("/api/notes", "technician", json={"text": "b"}, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 201
    assert notes(toy) == ["a", "b"]


def test_a_key_that_is_being_answered_is_refused(toy: Any, postgres: Any) -> None:
    other = postgres.admin(toy.database)
    try:
        other.cursor().execute("SELECT pg_advisory_lock(hashtextextended('idempotency admin k1', 0))")
        answer = toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    finally:
        other.close()
    assert (answer.status_code, answer.get_json()["code"]) == (409, "still_running")


def test_a_key_is_stored_with_its_fact_or_not_at_all(toy: Any) -> None:
    toy.post("/api/notes", json={"text": 5}, headers={"Idempotency-Key": "k1"})
    assert toy.db.session.execute(text("SELECT count(*) FROM keys")).scalar() == 0


def test_an_unreadable_key_is_refused(toy: Any) -> None:
    answer = toy.post("/api/notes", json={"text": "a"}, headers={"Idempotency-Key": "k" * 201})
    assert answer.status_code == 400
