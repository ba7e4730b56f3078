//! What takes a minute or more. Tests are begun in the order of their names, and these first: else the last of them would run alone when
//! all others have ended.

mod standby;
mod sustain;
mod versions;
