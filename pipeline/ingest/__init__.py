"""From files of ratings to splits of tf.Examples: one Beam job of Arrow blocks."""
