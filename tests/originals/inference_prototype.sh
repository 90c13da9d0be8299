# The commands of the FastAPI inference prototype.

python examples/simple_tester.py --url http://localhost:8000 send-text     --prompt "Hello, how are you?" --model-name vicuna_q2

python examples/simple_tester.py --url http://localhost:8000 generate     --prompt "Hello, how are you?" --model-name vicuna_q2

python examples/simple_tester.py --url http://localhost:8000 health-check

python examples/simple_tester.py --url http://localhost:8000 tasks

python examples/simple_tester.py --url http://localhost:8000 get-task-status     --task-id <TASK_ID>
