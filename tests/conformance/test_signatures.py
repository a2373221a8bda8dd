"""npm `jose` verifies what our phones and our server sign, one signature at a time; altered ones it refuses like we do."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from evidence.canonical import b64u_decode, b64u_encode
from evidence.facts import Kind
from evidence.keys import public_jwk
from tests.support.exhibits import CAPTURE, Handset, item, signed_once, signed_twice
from tests.support.npm import npm_folder, run_node
from tests.support.uploading import PHOTO, Place

JS = """
import { flattenedVerify, compactVerify, importJWK } from 'jose';
import { readFileSync } from 'node:fs';
const jobs = JSON.parse(readFileSync(process.argv[2]));
const told = [];
for (const job of jobs) {
  const key = await importJWK(job.jwk, 'ES256');
  try {
    const seen = job.compact ? await compactVerify(job.compact, key) : await flattenedVerify(job.flattened, key);
    told.push({ valid: true, payload: Buffer.from(seen.payload).toString('base64'), header: seen.protectedHeader });
  } catch (error) { told.push({ valid: false, code: error.code }); }
}
console.log(JSON.stringify(told));
"""


def test_EVD_09_jose_verifies_our_signatures_one_by_one_and_refuses_altered_ones(place: Place, tmp_path: Path) -> None:
    folder = npm_folder()
    made, dong = place.made, Handset(place.made.dong)
    at = made.now - timedelta(minutes=5)
    jobs: list[dict[str, Any]] = []
    expected: list[bytes | None] = []
    for number in range(30):
        content = PHOTO[:1_000] + bytes([number])
        payload = place.bilal.payload(made, place.visit, Kind.CAPTURE, CAPTURE, items=(item(content, at=at),))
        raw = signed_twice(place.bilal, dong, payload, at) if number % 2 else signed_once(place.bilal, payload)
        envelope = json.loads(raw)
        keys = {one.person.phone.kid: public_jwk(one.person.phone.key) for one in (place.bilal, dong) if one.person.phone is not None}
        for member in envelope["signatures"]:
            kid = json.loads(b64u_decode(member["protected"]))["kid"]
            flattened = {"payload": envelope["payload"], **member}
            jwk, other = keys[kid], next(key for one, key in keys.items() if one != kid)
            jobs += [{"flattened": flattened, "jwk": jwk}, {"flattened": flattened, "jwk": other},
                     {"flattened": {**flattened, "payload": b64u_encode(payload.replace(b"visit-evidence/1", b"visit-evidence/2"))}, "jwk": jwk}]
            expected += [payload, None, None]
    asked = place.declare()
    assert place.patch(asked, 0, PHOTO).status_code == 204
    receipt = str(place.receipt(asked["manifestId"]).json()["receipt"])
    records = [one.public for one in place.keyring.public_keys() if isinstance(one.public, dict)]
    jobs += [{"compact": receipt, "jwk": jwk} for jwk in records]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = run_node(folder, JS, str(tmp_path / "jobs.json"))
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout)
    signed, receipts = told[:len(expected)], told[len(expected):]
    assert [base64.b64decode(one["payload"]) if one["valid"] else None for one in signed] == expected
    assert {one["code"] for one in signed if not one["valid"]} == {"ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
    assert [one["valid"] for one in receipts].count(True) == 1, "exactly the receipt key verifies a receipt"
