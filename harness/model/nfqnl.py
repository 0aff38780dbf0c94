"""The listeners' side of queues: ``net/netfilter/nfnetlink_queue.c``, as far as core or a packet notices."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.model.structures import Net, QueueEntry
from harness.netfilter import Verdict, VerdictKind
from harness.outcome.types import QueueState, queue_key
from harness.scenario.steps.queue import Listen

__all__ = ("Instance", "Nfqnl")

NFQNL_QMAX_DEFAULT = 1024

_DROP, _ACCEPT = Verdict(VerdictKind.DROP), Verdict(VerdictKind.ACCEPT)


@dataclass(slots=True)
class Instance:
    """``struct nfqnl_instance``.

    :param queue_list: packets that wait, by their ids
    :param unanswered: ids that the listener was told of and has not answered, those of packets included that are gone
    """

    config: Listen
    id_sequence: int = 0
    queue_dropped: int = 0
    queue_list: dict[int, QueueEntry] = field(default_factory=dict)
    unanswered: list[tuple[int, int | None]] = field(default_factory=list)

    @property
    def maxlen(self) -> int:
        return NFQNL_QMAX_DEFAULT if self.config.maxlen is None else self.config.maxlen


@dataclass(slots=True)
class Nfqnl:
    """``nfqh``, the queue handler, and the instances of all namespaces.

    :param nf_reinject: gets the packets that leave a queue
    :param instances: by namespace and number
    """

    nf_reinject: Callable[[QueueEntry, Verdict], None]
    instances: dict[tuple[str, int], Instance] = field(default_factory=dict)

    def outfn(self, entry: QueueEntry, queuenum: int) -> int:
        """``nfqnl_enqueue_packet``.

        :returns: 0; -ESRCH: nobody listens; -EINVAL, -ENOBUFS: there is no place for it
        """
        queue = self.instances.get((entry.context.state.net, queuenum))
        if queue is None:
            return -errno.ESRCH
        if queue.config.copy == "none":
            return -errno.EINVAL
        if len(queue.queue_list) >= queue.maxlen:
            if queue.config.fail_open:
                self.nf_reinject(entry, _ACCEPT)
                return 0
            queue.queue_dropped += 1
            return -errno.ENOBUFS
        queue.id_sequence += 1
        entry.id = queue.id_sequence
        queue.queue_list[entry.id] = entry
        entry.context.skb.state = "queued"
        copied = queue.config.copy == "packet"
        queue.unanswered.append((entry.id, entry.context.skb.cookie if copied else None))
        return 0

    def nf_hook_drop(self, net: Net) -> None:
        """``nfqnl_nf_hook_drop``: every queue of the namespace is emptied, whatever hook point its packets came from."""
        for (netns, _), queue in self.instances.items():
            if netns == net.name:
                self._flush(queue)

    def state(self) -> tuple[tuple[str, QueueState], ...]:
        """What ``/proc/net/netfilter/nfnetlink_queue`` says in every namespace."""
        return tuple((queue_key(*key), QueueState(len(queue.queue_list), queue.queue_dropped, 0, queue.id_sequence))
                     for key, queue in sorted(self.instances.items()))

    def recv_config(self, config: Listen) -> int:
        """``nfqnl_recv_config`` with ``NFQNL_CFG_CMD_BIND``, from its own socket.

        :returns: 0; -EPERM: another one listens
        """
        key = config.netns, config.queue
        if key in self.instances:
            return -errno.EPERM
        self.instances[key] = Instance(config)
        return 0

    def recv_verdict(self, netns: str, number: int, verdict: Verdict, cookie: int | None) -> int:
        """``nfqnl_recv_verdict`` for the oldest packet that the listener knows of, or the one with the cookie.

        :returns: 0; -EINVAL: no verdict that a listener may give; -ENOENT: no such packet waits
        """
        queue = self.instances[netns, number]
        chosen = next((one for one in queue.unanswered if cookie in (None, one[1])), (0, None))
        if verdict.kind is VerdictKind.STOLEN or verdict.kind > VerdictKind.STOP:
            return -errno.EINVAL
        if chosen in queue.unanswered:
            queue.unanswered.remove(chosen)
        entry = queue.queue_list.pop(chosen[0], None)
        if entry is None:
            return -errno.ENOENT
        self.nf_reinject(entry, verdict)
        return 0

    def release(self, netns: str, number: int) -> None:
        """``nfqnl_rcv_nl_event``: the listener's socket is gone, its queue goes, and what waits is dropped."""
        self._flush(self.instances.pop((netns, number)))

    def _flush(self, queue: Instance) -> None:
        """``nfqnl_flush``."""
        while queue.queue_list:
            _, entry = queue.queue_list.popitem()
            self.nf_reinject(entry, _DROP)
