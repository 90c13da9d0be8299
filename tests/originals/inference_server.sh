# The curl examples of the Inference Server, and the answers that it shows. Two more of them have a token here:
# predictions are their owners' alone to see.

curl -X POST http://localhost:8000/v1/auth/register \
  -H "Content-Type: application/json" \
  -d '{
    "username": "testuser",
    "email": "test@example.com",
    "password": "password123"
  }'

#=> {"access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", "token_type": "bearer"}
curl -X POST http://localhost:8000/v1/auth/token \
  -d "username=testuser&password=password123"

curl -X POST http://localhost:8000/v1/models \
  -H "Authorization: Bearer YOUR_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "name": "GPT-2",
    "description": "GPT-2 text generation model",
    "model_type": "text-generation",
    "version": "1.0.0",
    "model_path": "gpt2",
    "hardware": "cpu",
    "input_schema": {
      "prompt": {
        "type": "string",
        "description": "Text prompt for generation"
      },
      "max_length": {
        "type": "integer",
        "description": "Maximum length of generated text",
        "default": 100,
        "minimum": 1,
        "maximum": 1000
      }
    }
  }'

curl -X GET http://localhost:8000/v1/models

curl -X GET http://localhost:8000/v1/models/{model_id}

#=> {"id": "pred_abc123", "status": "starting", "model_id": "MODEL_ID", "input": {"prompt": "Once upon a time", "max_length": 50}, "output": null, "created_at": "2024-01-24T10:00:00Z"}
curl -X POST http://localhost:8000/v1/predictions \
  -H "Authorization: Bearer YOUR_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "model_id": "MODEL_ID",
    "input": {
      "prompt": "Once upon a time",
      "max_length": 50
    }
  }'

curl -X GET http://localhost:8000/v1/predictions/{prediction_id} \
  -H "Authorization: Bearer YOUR_TOKEN"

curl -X GET http://localhost:8000/v1/predictions \
  -H "Authorization: Bearer YOUR_TOKEN"

curl -X POST http://localhost:8000/v1/predictions \
  -H "Authorization: Bearer YOUR_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "model_id": "MODEL_ID",
    "input": {
      "prompt": "Hello world"
    },
    "webhook": "https://your-server.com/webhook"
  }'

curl http://localhost:8000/health
