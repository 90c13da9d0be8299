# The curl examples of the FastAPI image and text server, and the answers that it shows.

#=> {"choices": [{"text": "It looks like a dog playing in a park."}]}
curl -X POST http://localhost:8000/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
        "messages": [
          {
            "role": "user",
            "content": [
              { "type": "text", "text": "Describe this image" },
              { "type": "image_url", "image_url": "https://example.com/cat.jpg" }
            ]
          }
        ]
      }'

#=> {"choices": [{"text": "It looks like a dog playing in a park."}]}
curl -X POST http://localhost:8000/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
        "messages": [
          {
            "role": "user",
            "content": [
              { "type": "text", "text": "Describe this image" },
              { "type": "image_url", "image_url": { "url": "https://example.com/cat.jpg" } }
            ]
          }
        ]
      }'
