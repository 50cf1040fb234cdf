// Calls to the inspector. It knows us by a cookie; what fails is an Error with its text.

export async function call(path, { method = "GET", body = undefined, raw = false } = {}) {
  const options = { method, headers: {}, cache: "no-store" };
  if (body !== undefined) {
    const isText = typeof body === "string" || body instanceof Blob;
    options.body = isText ? body : JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(`api/${path}`, options);
  if (!answer.ok) throw new Error((await answer.text()) || `${answer.status} ${answer.statusText}`);
  if (raw) return answer;
  return answer.status === 204 ? null : answer.json();
}
