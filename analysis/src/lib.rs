//! Statistics, merging, objectives, decisions and the report.
