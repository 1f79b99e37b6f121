"""mainstay_write.py over requests or httpx, with the session, the authentication and the proxies that you have set up there."""

from mainstay_answer import Answer


def with_client(client):
    """`write(…, send=with_client(requests.Session()))`, or an `httpx.Client()`."""
    names = ("follow_redirects", "content") if hasattr(client, "follow_redirects") else ("allow_redirects", "data")

    def send(method, url, headers, body, timeout):
        try:
            reply = client.request(method, url, headers=headers, timeout=timeout, **dict(zip(names, (False, body))))
        except Exception as error:  # each library has its own; none of them says that nothing happened
            raise OSError("no answer") from error
        return Answer(reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content)

    return send
