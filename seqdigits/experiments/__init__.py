"""Series of experiments: results beside the published figures, reports, ablation, benchmark."""
