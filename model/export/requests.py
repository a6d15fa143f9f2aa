"""From the inputs of a request, raw ids and times, to the features that a model reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from transforms import features

REQUEST_TIME = "request_time"
_LAST_TIME = 4_102_444_800  # 2100-01-01


class Requests:
    """Runs the Transform graph on requests.

    Args:
      transform: the Transform graph as a layer.
      length: L, events of a history that the model reads.
      events: features of event fields.
    """

    def __init__(self, transform: Any, length: int, events: Sequence[str]):
        self.length = length
        self._transform = transform
        self._events = events

    def histories(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        events: Mapping[str, tf.Tensor],
        others: Mapping[str, tf.Tensor],
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Transformed features of the newest L events of each history.

        Args:
          history_item: raw ids `(B, H)`.
          history_time: seconds since 1970 `(B, H)`.
          history_length: `(B,)`.
          request_time: seconds since 1970 `(B,)`.
          events: values `(B, H)` of each event field, by its feature.
          others: further inputs of the request, `(B,)` or `(B, K)` with a K of each.

        Returns:
          the features, and the lengths `(B,)` of the histories before the cut to L.

        Raises:
          tf.errors.InvalidArgumentError: when it runs, if shapes do not agree or a time is not in
            seconds.
        """
        # Without these checks, broadcasting would answer requests whose shapes do not match.
        rows, width = tf.shape(history_item)[0], tf.shape(history_item)[1]
        checks = [
            tf.debugging.assert_equal(
                tf.shape(value),
                tf.stack(shape),
                f"`{name}` must have the shape {words}, with B and H of `{features.HISTORY_ITEM}`.",
            )
            for name, value, shape, words in (
                (features.HISTORY_TIME, history_time, [rows, width], "(B, H)"),
                (features.HISTORY_LENGTH, history_length, [rows], "(B,)"),
                (REQUEST_TIME, request_time, [rows], "(B,)"),
                *((name, of, [rows, width], "(B, H)") for name, of in events.items()),
                *((name, of, [rows], "(B,)") for name, of in others.items() if of.shape.rank == 1),
                *(
                    (name, of, [rows, tf.shape(of)[1]], "(B, K)")
                    for name, of in others.items()
                    if of.shape.rank == 2
                ),
            )
        ]
        with tf.control_dependencies(checks):
            history_item = tf.identity(history_item)
        length = tf.clip_by_value(history_length, 0, tf.shape(history_item, tf.int64)[1])
        raw = {
            features.HISTORY_ITEM: _newest(history_item, length, self.length, ""),
            features.HISTORY_TIME: in_seconds(
                features.HISTORY_TIME, _newest(history_time, length, self.length, 0)
            ),
            features.HISTORY_LENGTH: tf.minimum(length, self.length)[:, None],
            **{name: _newest(of, length, self.length, "") for name, of in events.items()},
            features.TARGET_ITEM: tf.fill([tf.size(length), 1], ""),
            features.TARGET_TIME: in_seconds(REQUEST_TIME, request_time)[:, None],
        }
        return self._transform(raw), length

    def ids(self, items: tf.Tensor) -> tf.Tensor:
        """Integer ids `(B, K)` of raw ids `(B, K)`.

        The Transform graph takes whole samples, so the raw ids go in as histories of length L. As
        targets, each would bring a history of L items to look up.
        """
        flat = tf.reshape(items, [-1])
        rows = -(-tf.size(flat) // self.length)
        flat = tf.pad(flat, [[0, rows * self.length - tf.size(flat)]], constant_values="")
        samples = tf.reshape(flat, [rows, self.length])
        raw = {
            features.HISTORY_ITEM: samples,
            features.HISTORY_TIME: tf.zeros_like(samples, tf.int64),
            features.HISTORY_LENGTH: tf.fill([rows, 1], tf.constant(self.length, tf.int64)),
            **{name: tf.fill(tf.shape(samples), "") for name in self._events},
            features.TARGET_ITEM: tf.fill([rows, 1], ""),
            features.TARGET_TIME: tf.zeros([rows, 1], tf.int64),
        }
        ids = tf.reshape(self._transform(raw)[features.HISTORY_ITEM], [-1])
        return tf.reshape(ids[: tf.size(items)], tf.shape(items))


def in_seconds(name: str, times: tf.Tensor) -> tf.Tensor:
    """Checks that times are seconds; milliseconds would give wrong scores without an error."""
    latest = tf.reduce_max(times)
    message = tf.strings.join(
        [
            f"`{name}` must be Unix seconds before the year 2100. Received: ",
            tf.strings.as_string(latest),
            ". Divide milliseconds by 1,000.",
        ]
    )
    check = tf.debugging.Assert(latest < _LAST_TIME, [message])
    with tf.control_dependencies([check]):
        return tf.identity(times)


def _newest(values: tf.Tensor, length: tf.Tensor, count: int, padding: Any) -> tf.Tensor:
    """The newest `count` of the first `length` values of each row, padded on the right."""
    # One more column, so that a history of width 0 has a column to gather from.
    values = tf.pad(values, [[0, 0], [0, 1]], constant_values=padding)
    columns = tf.maximum(length - count, 0)[:, None] + tf.range(tf.constant(count, tf.int64))
    filled = columns < length[:, None]
    last = tf.shape(values, tf.int64)[1] - 1
    newest = tf.gather(values, tf.where(filled, columns, last), batch_dims=1)
    return tf.where(filled, newest, tf.constant(padding, values.dtype))
