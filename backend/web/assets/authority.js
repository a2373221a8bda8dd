// The bank's key in the authoriser's browser: P-256, made here, not extractable, kept in IndexedDB, used for nothing but signing.

const section = document.getElementById("authority");
const about = JSON.parse(section.dataset.about);
const state = document.getElementById("key-state");
const maker = document.getElementById("make-key");
const encoder = new TextEncoder();

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

// RFC 8785 for what is signed here: objects of texts, whole numbers and lists of texts.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

const opened = new Promise((resolve, reject) => {
  const asked = indexedDB.open("fieldvisit-authority", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("keys");
  asked.onsuccess = () => resolve(asked.result);
  asked.onerror = () => reject(asked.error);
});

async function stored(mode, act) {
  const database = await opened;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction("keys", mode);
    const asked = act(transaction.objectStore("keys"));
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onerror = () => reject(transaction.error);
  });
}

async function publicJwk(key) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", key);
  return { kty, crv, x, y };
}

// RFC 7638: the key's id is the digest of its canonical public form.
const thumbprint = async (jwk) => base64url(await crypto.subtle.digest("SHA-256", encoder.encode(canonical(jwk))));

async function sign(pair, typ, payload) {
  const kid = await thumbprint(await publicJwk(pair.publicKey));
  const words = [{ alg: "ES256", kid, typ }, payload].map((part) => base64url(encoder.encode(canonical(part)))).join(".");
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, encoder.encode(words));
  return `${words}.${base64url(signature)}`;
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body),
    headers: { "X-CSRF-Token": about.csrf, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
  });
  if (!answer.ok) throw new Error((await answer.json()).title ?? answer.statusText);
}

async function show() {
  const pair = await stored("readonly", (keys) => keys.get(about.bank + about.staff));
  const kid = pair ? await thumbprint(await publicJwk(pair.publicKey)) : "";
  const isEnrolled = about.enrolled.includes(kid);
  state.textContent = !pair ? state.dataset.none : isEnrolled ? `${state.dataset.kept} ${kid}` : state.dataset.unknown;
  state.dataset.kid = isEnrolled ? kid : "";
  maker.hidden = isEnrolled;
  for (const button of document.querySelectorAll("button.grant")) button.disabled = !isEnrolled;
  return pair;
}

async function makeKey() {
  maker.disabled = true;
  try {
    const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const jwk = await publicJwk(pair.publicKey);
    const proof = await sign(pair, about.keyTyp, { bank: about.bank, purpose: about.purpose, staff: about.staff });
    await post("/api/v1/bank-keys", { purpose: about.purpose, jwk, hardware: "webcrypto", proof });
    await stored("readwrite", (keys) => keys.put(pair, about.bank + about.staff));
    about.enrolled.push(await thumbprint(jwk));
    await show();
  } catch (error) {
    state.textContent = String(error.message ?? error);
  } finally {
    maker.disabled = false;
  }
}

async function grant(card) {
  const pair = await show();
  const now = Math.floor(Date.now() / 1000);
  const hours = Math.min(Number(card.querySelector(".hours").value), Number(card.dataset.hours));
  const claims = { ...JSON.parse(card.dataset.claims), jti: `A-${crypto.randomUUID()}`, iat: now, exp: now + hours * 3600 };
  await post(`/api/v1/authorisation-requests/${card.dataset.request}/grant`, { token: await sign(pair, about.tokenTyp, claims) });
}

function answer(card, button, act) {
  button?.addEventListener("click", async () => {
    const result = card.querySelector(".result");
    for (const one of card.querySelectorAll("button")) one.disabled = true;
    try {
      await act();
      result.textContent = result.dataset.done;
      result.dataset.state = "done";
    } catch (error) {
      result.textContent = `${result.dataset.failed} ${error.message ?? error}`;
      result.dataset.state = "failed";
      for (const one of card.querySelectorAll("button")) one.disabled = false;
    }
  });
}

for (const card of document.querySelectorAll("article.request")) {
  const path = `/api/v1/authorisation-requests/${card.dataset.request}`;
  answer(card, card.querySelector(".grant"), () => grant(card));
  answer(card, card.querySelector(".second"), () => post(`${path}/second`));
  answer(card, card.querySelector(".refuse"), () => post(`${path}/refuse`, { reason: "refused-by-authoriser" }));
}

// The countdown runs from what the server said was left, not from this computer's clock.
const begun = performance.now();
setInterval(() => {
  for (const clock of document.querySelectorAll(".countdown")) {
    const left = Math.max(0, Number(clock.dataset.left) - Math.floor((performance.now() - begun) / 1000));
    clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  }
}, 1000);

maker.addEventListener("click", makeKey);
await show();
