"""Models on a hub: repositories of Hugging Face, or of a server that speaks as it does, by way of huggingface-hub.

Where the hub is, where its copies lie and who asks is told by that package's own means: ``HF_ENDPOINT``, ``HF_HOME``,
``HF_HUB_OFFLINE``, ``HF_TOKEN`` and ``hf auth login``. It is loaded when something is fetched or put up.
"""

from __future__ import annotations

from hpa_cells.hub.address import HubModel, is_on_hub
from hpa_cells.hub.pulling import PulledModel, pull
from hpa_cells.hub.pushing import push

__all__ = ["HubModel", "PulledModel", "is_on_hub", "pull", "push"]
