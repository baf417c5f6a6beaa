"""Our one background thread: lines become batches and leave."""
