"""Things beside the tensor library itself; `data` feeds training."""
