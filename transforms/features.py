"""Names and shapes of the features, from ingestion to the model.

A sample has one history of a user and one target. Ingestion writes raw features, and a client of
the served model sends them. TensorFlow Transform turns them into transformed features, which a
model reads. Histories start with the oldest event and are padded on the right.
"""

# Raw features. L is the setting `max_history_length`.
USER_ID = "user_id"  # bytes [1]
HISTORY_ITEM = "history_item"  # bytes [L], padding is b""
HISTORY_TIME = "history_time"  # int64 [L], seconds since 1970, padding is 0
HISTORY_LENGTH = "history_length"  # int64 [1], number of events, at most L
TARGET_ITEM = "target_item"  # bytes [1]
TARGET_TIME = "target_time"  # int64 [1], seconds since 1970
LABEL = "label"  # int64 [1], 1 for an event of the user, 0 for a negative

# Slice keys: raw features for evaluation only; a model never reads them.
HISTORY_BUCKET = "history_bucket"  # bytes [1], one value per user and split
TARGET_BUCKET = "target_bucket"  # bytes [1], number of training events of the target

# Transformed features beside HISTORY_ITEM, HISTORY_LENGTH, TARGET_ITEM and
# LABEL, which keep their names: items become int64 ids (0 is padding, then the
# out-of-vocabulary buckets, then the vocabulary).
HISTORY_ELAPSED = "history_elapsed"  # int64 [L], bucket of target_time - history_time

# The users of each split by the length of their history: below the median of
# training, up to its nine tenths, and the top tenth.
HISTORY_BUCKETS = ("short", "medium", "long")
# Training events of the target item: lower bounds of the buckets, and names.
TARGET_BUCKET_BOUNDS = (0, 1, 5, 20, 100)
TARGET_BUCKETS = ("0", "1-4", "5-19", "20-99", "100+")

SPLITS = ("train", "eval", "test")

# The vocabulary that history and target share.
ITEM_VOCABULARY = "item"
# Elapsed time 0 is bucket 0, [2^k, 2^(k+1)) units are bucket k + 1, and times
# beyond the last bucket stay in it: 2^30 units are enough for any unit.
NUM_TIME_BUCKETS = 32
