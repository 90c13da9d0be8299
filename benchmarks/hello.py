"""The floor of `accept`: the first example of FastAPI's documentation, served as the gateway is served."""

from __future__ import annotations

from fastapi import FastAPI

from benchmarks.serving import serve

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "Hello World"}


if __name__ == "__main__":
    serve(app)
