"""A backend with FastAPI whose users sign in with Latchkey."""

import os
import re

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request

SESSION_COOKIE = re.compile(r"(?:^|; )((?:__Host-|__Secure-)?sid=[^;]*)")
latchkey = httpx.AsyncClient(base_url=os.environ.get("LATCHKEY_URL", "http://localhost:3000"))


async def require_user(request: Request) -> str:
    cookie = "; ".join(SESSION_COOKIE.findall(request.headers.get("cookie", "")))
    try:
        # The explicit header, even if it is empty, replaces cookies that the shared client has stored.
        check = await latchkey.get("/auth/verify", headers={"Cookie": cookie})
        if check.status_code in (401, 403):
            raise HTTPException(check.status_code, check.json())
        return check.headers["X-Auth-User-Id"]
    except (httpx.HTTPError, KeyError, ValueError):
        raise HTTPException(503, "Try again later", {"Retry-After": "1"})


async def require_same_origin(request: Request) -> None:
    reads = request.method in ("GET", "HEAD", "OPTIONS")
    if not reads and request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "Cross-origin request")


app = FastAPI(dependencies=[Depends(require_same_origin)])


@app.get("/orders")
async def list_orders(user_id: str = Depends(require_user)):
    return {"userId": user_id, "orders": []}


@app.post("/orders", status_code=201)
async def create_order(user_id: str = Depends(require_user)):
    return {"userId": user_id}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 8080)))
