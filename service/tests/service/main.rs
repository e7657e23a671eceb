//! The service with all its real parts: a database file, the engine, the embedded base model. Tests wait for events of a
//! run, never for time to pass.

mod bad_files;
mod datasets;
mod runs;
mod support;
