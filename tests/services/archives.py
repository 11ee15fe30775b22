"""Hosts of dataset archives, as their documentation and public clients describe them.

* Zenodo: ``/records/{id}/files/{name}?download=1``, limits of 60 requests a minute for guests, ``429`` with
  ``X-RateLimit-*`` (developers.zenodo.org, "Rate limiting").
* Hugging Face: ``/datasets/{owner}/{set}/resolve/{revision}/{name}`` answers 302 to a signed address of a
  storage host (huggingface_hub, ``file_download.py``: redirects of large files).
* Robots at Oxford: 301 from ``www.robots.ox.ac.uk/~vgg/data/parisbuildings`` to ``thor``.
* Google Drive: ``/uc?export=download&id=`` answers 303 to ``drive.usercontent.google.com/download``; that
  gives small files, of large ones a page with the form ``download-form`` (hidden ``id``, ``export``, ``confirm``,
  ``uuid``), and a page titled "Google Drive - Quota exceeded" (wkentaro/gdown, ``download.py`` and issues
  #43, #342, #391; shape of the pages as in public tests of clients that parse them).
"""

from __future__ import annotations

from tests.services.base import Answer, Call, LocalService

CONFIRM_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{action}" method="get"><input type="hidden" name="id" value="{id}">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="{uuid}"><input type="submit" value="Download anyway"></form></body></html>"""

QUOTA_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p></body></html>"""

UUID = "0b1f-4a6e"


class Storage(LocalService):
    """A plain host of files by name: a mirror, a university's server, the storage behind a redirect."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.route(r"/(?:.*/)?([^/]+)", self.file)

    def file(self, call: Call, name: str) -> Answer:
        if name not in self.files:
            return Answer.text("<html><body>404 Not Found</body></html>", 404, kind="text/html")
        return Answer.file(call, self.files[name])


class Zenodo(LocalService):
    """Records with files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.route(r"/records/(\d+)/files/([^/]+)", self.file)

    def file(self, call: Call, _record: str, name: str) -> Answer:
        if name not in self.files:
            return Answer.json({"status": 404, "message": "The file does not exist."}, 404)
        return Answer.file(call, self.files[name])


class HuggingFace(LocalService):
    """Answers with a redirect to a signed address of a storage host; the signature holds for one use here."""

    def __init__(self, files: dict[str, bytes], storage: Storage) -> None:
        super().__init__()
        self.files, self.storage = files, storage
        self.route(r"/datasets/[^/]+/[^/]+/resolve/[0-9a-f]+/(.+)", self.resolve)

    def resolve(self, _call: Call, name: str) -> Answer:
        if name not in self.files:
            return Answer.text("Entry not found", 404)
        return Answer.redirect(f"{self.storage.url}/{name}?Expires=1&Signature=signed-by-storage")


class Robots(LocalService):
    """The old address of the Paris Dataset."""

    def __init__(self, thor: Storage) -> None:
        super().__init__()
        self.thor = thor
        self.route(r"/~vgg/data/parisbuildings/(.+)", self.moved)

    def moved(self, _call: Call, name: str) -> Answer:
        return Answer.redirect(f"{self.thor.url}/parisbuildings/{name}", 301)


class Drive(LocalService):
    """Google Drive and its host of contents; files above ``scanned`` bytes ask for a confirmation."""

    def __init__(self, files: dict[str, bytes], scanned: int = 1000) -> None:
        super().__init__()
        self.files, self.scanned = files, scanned
        self.closed = False
        self.route("/uc", self.ask)
        self.route("/download", self.content)

    def ask(self, call: Call) -> Answer:
        found = call.query.get("id", "")
        if found not in self.files:
            return Answer.text("<html><title>Error 404</title></html>", 404, kind="text/html")
        return Answer.redirect(f"{self.url}/download?id={found}&export=download", 303)

    def content(self, call: Call) -> Answer:
        if self.closed:
            return Answer.text(QUOTA_PAGE, kind="text/html; charset=utf-8")
        content = self.files[call.query["id"]]
        confirmed = call.query.get("confirm") == "t" and call.query.get("uuid") == UUID
        if len(content) > self.scanned and not confirmed:
            page = CONFIRM_PAGE.format(
                action=f"{self.url}/download", id=call.query["id"], uuid=UUID
            )
            return Answer.text(page, kind="text/html; charset=utf-8")
        return Answer.file(call, content)
