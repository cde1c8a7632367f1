"""What speaks OpenAI's /chat/completions and answers what a test has prepared, to see what programs
send to a model and what they do with its answers. It is no model."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def calls(*wanted):
    """A message that calls tools: pairs of a name and arguments."""
    made = [
        {"id": f"c{place}", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(wanted)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def says(text):
    return {"role": "assistant", "content": text}


@contextmanager
def endpoint(*answers):
    """The base URL, and the bodies that were sent."""
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["content-length"])
            asked.append(json.loads(self.rfile.read(length)))
            body = json.dumps({"choices": [{"message": left.pop(0)}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
