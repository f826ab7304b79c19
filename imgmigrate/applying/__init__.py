"""From change set to images: engine, transfers, blobs, receipts."""
