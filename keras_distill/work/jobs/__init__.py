"""Runs independent jobs sequentially, in local processes, or on Ray."""

from keras_distill.work.jobs._core import (
    BACKENDS,
    Job,
    JobPool,
    finished_job,
    job_failures,
    run_jobs,
)

__all__ = ["BACKENDS", "Job", "JobPool", "finished_job", "job_failures", "run_jobs"]
