#!/usr/bin/env bash
# The API by curl alone: create, wait, stream, files, cancel.
#
# export REPLICATE_API_TOKEN=…                       # `make run` prints it
# export REPLICATE_BASE_URL=http://127.0.0.1:8000
# examples/curl.sh
set -euo pipefail

api() { # METHOD PATH [curl's options]
  curl --silent --show-error --fail-with-body --request "$1" "$REPLICATE_BASE_URL/v1$2" \
    --header "Authorization: Bearer $REPLICATE_API_TOKEN" "${@:3}"
  echo
}
json=(--header "Content-Type: application/json" --data)
field() { grep -oE "\"$1\": ?\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; } # the first one of this name

echo "== create, and look until it has ended"
id=$(api POST /predictions "${json[@]}" '{"version": "demo/echo", "input": {"text": "hello"}}' | field id)
until api GET "/predictions/$id" | grep -E '"status": ?"(succeeded|failed|canceled)"'; do sleep 0.2; done

echo "== create, and have the server hold the answer until it has ended"
api POST /models/demo/recital/predictions --header "Prefer: wait=30" \
  "${json[@]}" '{"input": {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}}'

echo "== stream; the URL is its own permission"
stream=$(api POST /models/demo/recital/predictions \
  "${json[@]}" '{"input": {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}}' | field stream)
curl --silent --show-error --no-buffer --header "Accept: text/event-stream" "$stream"

echo "== upload a file, and use it as an input"
samples=$(dirname "$0")/demo_models/digits/samples
file=$(api POST /files --form "content=@$samples/7.png")
echo "$file"
url=$(echo "$file" | field get)
api POST /models/demo/digits/predictions --header "Prefer: wait=30" "${json[@]}" "{\"input\": {\"image\": \"$url\"}}"
api DELETE "/files/$(echo "$file" | field id)"

echo "== cancel"
id=$(api POST /models/demo/echo/predictions \
  "${json[@]}" '{"input": {"text": "", "sleep": 60, "steps": 600}}' | field id)
api POST "/predictions/$id/cancel"
