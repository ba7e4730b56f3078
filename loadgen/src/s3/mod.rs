//! What S3 says, whoever asks it: its documents and its refusals. (Pure.)

pub mod answer;
pub mod xml;
