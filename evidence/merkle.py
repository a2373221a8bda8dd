"""RFC 9162 hashing, proofs and their verification, and the state that appends.

Indices count leaves from 0; hashes are 32 bytes. The incremental state is the roots of the perfect subtrees (a compact range);
proofs are made from stored nodes, or from all leaf hashes where no nodes are stored.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, TypeAlias

import msgspec

from evidence.errors import LogProofInvalid

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The root of a perfect subtree of 2^level leaves, the index-th from the left."""

    level: int
    index: int
    hash: bytes


NodeReader: TypeAlias = Callable[[int, int], bytes]
"""(level, index) → hash of that perfect subtree."""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The state needed to append: size and the roots of its perfect subtrees, largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.peaks) != self.size.bit_count() or any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError("one 32-byte peak for each set bit of the size")

    def append(self, hash_of_leaf: bytes) -> "Tree":
        """Return the tree with one leaf more; merges as many peaks as the old size has trailing ones."""
        peaks, carried, size = list(self.peaks), hash_of_leaf, self.size
        while size & 1:
            carried = node_hash(peaks.pop(), carried)
            size >>= 1
        return Tree(size=self.size + 1, peaks=(*peaks, carried))

    def root(self) -> bytes:
        """Return the root hash, that of the empty string for an empty tree."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def tree_of(leaf_hashes: Sequence[bytes]) -> Tree:
    """Rebuild the appendable state from all stored leaf hashes."""
    tree = Tree()
    for hash_of_leaf in leaf_hashes:
        tree = tree.append(hash_of_leaf)
    return tree


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over all leaf hashes."""
    return tree_of(leaf_hashes).root()


def appended_nodes(tree: Tree, hash_of_leaf: bytes) -> tuple[Tree, tuple[Node, ...]]:
    """Append a leaf and return, with the new tree, every perfect-subtree root that this completes: the rows to store."""
    nodes = [Node(level=0, index=tree.size, hash=hash_of_leaf)]
    size = tree.size
    for peak in reversed(tree.peaks):
        if not size & 1:
            break
        size >>= 1
        nodes.append(Node(level=nodes[-1].level + 1, index=size, hash=node_hash(peak, nodes[-1].hash)))
    return tree.append(hash_of_leaf), tuple(nodes)


def nodes_over(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """Return a reader that computes, once each, the perfect-subtree roots over stored leaf hashes."""
    @cache
    def read(level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hashes[index]
        return node_hash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))

    return read


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of a leaf from all leaf hashes; see `inclusion_path`."""
    return inclusion_path(nodes_over(leaf_hashes), len(leaf_hashes), index)


def inclusion_path(read: NodeReader, size: int, index: int) -> tuple[bytes, ...]:
    """Return the audit path of a leaf, sibling first (RFC 9162 §2.1.3.1), reading O(log² size) stored nodes.

    Raises:
        ValueError: the index lies outside the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the first `old_size` leaves are unchanged; see `consistency_path`."""
    return consistency_path(nodes_over(leaf_hashes), old_size, len(leaf_hashes))


def consistency_path(read: NodeReader, old_size: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that a tree of `size` extends its first `old_size` leaves (RFC 9162 §2.1.4.1).

    Raises:
        ValueError: `old_size` is not in 1 … size.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"old size {old_size} is outside 1 … {size}")
    path: list[bytes] = []
    start, end, is_whole = 0, size, True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start, is_whole = middle, False
    if not is_whole:
        path.append(_range_root(read, start, end))
    return tuple(reversed(path))


def demand_inclusion(root: bytes, size: int, index: int, hash_of_leaf: bytes, path: Sequence[bytes]) -> None:
    """Verify an audit path (RFC 9162 §2.1.3.2).

    Raises:
        LogProofInvalid: it does not lead to the root.
    """
    _demand_hashes(root, hash_of_leaf, *path)
    if not 0 <= index < size:
        raise LogProofInvalid(f"index {index} is outside a tree of {size}")
    node, last, computed = index, size - 1, hash_of_leaf
    for sibling in path:
        if last == 0:
            raise LogProofInvalid("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or computed != root:
        raise LogProofInvalid("the inclusion proof does not lead to the root")


def demand_consistency(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> None:
    """Verify that the tree `new` (size, root) extends `old` (RFC 9162 §2.1.4.2).

    Raises:
        LogProofInvalid: it does not, or sizes are out of order.
    """
    (old_size, old_root), (new_size, new_root) = old, new
    _demand_hashes(old_root, new_root, *path)
    if not 0 < old_size <= new_size:
        raise LogProofInvalid(f"sizes {old_size} and {new_size} are not in order")
    if old_size == new_size:
        if path or old_root != new_root:
            raise LogProofInvalid("two roots, or a proof, for one size")
        return
    hashes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not hashes:
        raise LogProofInvalid("the consistency proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise LogProofInvalid("the consistency proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise LogProofInvalid("the consistency proof does not join the roots")


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(read: NodeReader, start: int, end: int) -> bytes:
    """Return the root over leaves start … end - 1, where start is a multiple of the largest power of two in the range."""
    peaks: list[bytes] = []
    at = start
    while at < end:
        level = (end - at).bit_length() - 1
        peaks.append(read(level, at >> level))
        at += 1 << level
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def _demand_hashes(*hashes: bytes) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise LogProofInvalid(f"a hash has {HASH_BYTES} bytes")
