# The curl examples of the Simple Inference Server. Where it shows no answer, OpenAI's stands here.

#=> {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}], "model": "BAAI/bge-m3", "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": null}}
curl -X POST http://localhost:8000/v1/embeddings \
  -H "Content-Type: application/json" \
  -d '{"model":"BAAI/bge-m3","input":"hello world"}'

#=> {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}], "usage": {"total_tokens": 0}}
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{"model":"meta-llama/Llama-3.2-1B-Instruct","messages":[{"role":"user","content":"Who are you?"}],"max_tokens":128}'

#=> {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}], "usage": {"total_tokens": 0}}
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
        "model": "Qwen/Qwen3-VL-4B-Instruct",
        "messages": [
          {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA...truncated..."}},
            {"type": "text", "text": "Describe the cat."}
          ]}
        ],
        "max_tokens": 128
      }'

curl -X POST http://localhost:8000/v1/audio/transcriptions \
  -F "model=openai/whisper-tiny" \
  -F "file=@/path/to/sample.wav" \
  -F "response_format=text"

#=> {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}, {"object": "embedding", "index": 1, "embedding": [0.1]}], "model": "BAAI/bge-m3", "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": null}}
curl -X POST http://localhost:8000/v1/embeddings \
  -H "Content-Type: application/json" \
  -d '{
        "model": "BAAI/bge-m3",
        "input": ["hello", "world"]
      }'

#=> {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}], "usage": {"total_tokens": 0}}
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
        "model": "Qwen/Qwen3-VL-4B-Instruct-FP8",
        "messages": [
          {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA...truncated..."}},
            {"type": "text", "text": "Describe this cat in detail."}
          ]}
        ],
        "max_tokens": 128
      }'

#=> {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}], "usage": {"total_tokens": 0}}
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
        "model": "meta-llama/Llama-3.2-1B-Instruct",
        "messages": [
          {"role": "user", "content": "Who are you?"}
        ],
        "max_tokens": 128,
        "temperature": 0.7
      }'
