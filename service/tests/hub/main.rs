//! The Hub's client against a Hub on loopback: real HTTP, real files, real troubles.

mod access;
mod cache;
mod datasets;
mod download;
mod push;
mod server;
mod support;
