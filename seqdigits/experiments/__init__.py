"""Series of experiments: results and the published ones, reports, ablation, benchmark."""
