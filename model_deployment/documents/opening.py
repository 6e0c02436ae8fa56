"""Opens the document store when it is first needed: at the start of a controller it may be away."""

from model_deployment.documents.base import Documents


class OpenedStore:
    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._is_open = False

    async def opened(self) -> Documents:
        """The store, with its collections made.

        Raises:
            StoreUnavailable: it does not answer.
        """
        if not self._is_open:
            await self.documents.open()
            self._is_open = True
        return self.documents
