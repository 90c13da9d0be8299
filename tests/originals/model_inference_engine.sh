# The curl examples of the Model Inference Engine, and its API reference as requests. It shows no answers.

curl http://localhost:5000/models

curl -X POST http://localhost:5000/inference \
  -H "Content-Type: application/json" \
  -d '{
    "model_id": "yolov8n",
    "image_url": "https://ultralytics.com/images/bus.jpg"
  }'

curl http://localhost:5000/healthz

curl -X POST http://localhost:5000/inference \
  -H "Content-Type: application/json" \
  -d '{
    "model_id": "blip-vqa-base",
    "prompt": "What is the driver doing?",
    "image_url": "https://example.com/sample.jpg"
  }'
