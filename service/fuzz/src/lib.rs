//! What the fuzz targets share: a file of some bytes, looked at and read as a person would have it read.

use domain::reading::ReadWish;
use service::ServiceError;
use service::source::{Detected, detect, read};
use std::cell::RefCell;
use std::io::{Seek, Write};

thread_local! {
    /// One file for all inputs, in memory where the system has a place for that.
    static FILE: RefCell<tempfile::NamedTempFile> = RefCell::new(
        tempfile::NamedTempFile::new_in("/dev/shm").or_else(|_| tempfile::NamedTempFile::new()).expect("a file to write")
    );
}

/// Lets a panic of a crate that parses unwind, where libFuzzer's own hook would abort: the readers of workbooks and of
/// Parquet catch it and refuse the file in words. One that nothing catches still ends the process, and one of this
/// project's own code does so at once. To be called once, before the first input.
pub fn let_parsers_panic() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_parser = panic.location().is_some_and(|place| place.file().contains("/registry/src/"));
        if !is_parser {
            abort(panic);
        }
    }));
}

/// Looks at the bytes as wished and reads them as is proposed then. What comes out is usable: texts and labels that are
/// not empty, on lines that go up. What does not come out is refused in words for a person, never with a panic.
pub fn look_and_read(bytes: &[u8], wish: &ReadWish) -> Option<Detected> {
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("an empty file");
        file.rewind().expect("the beginning");
        file.write_all(bytes).expect("the bytes written");
        let detected = match detect(file.path(), wish) {
            Ok(detected) => detected,
            Err(ServiceError::User(error)) => {
                assert!(!error.message.is_empty());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(detected.rows.iter().all(|row| row.len() == detected.columns.len()));
        let mut last_line = 0;
        let outcome = read(file.path(), &detected.options, &mut |row, share| {
            assert!((0.0..=1.0).contains(&share));
            let line = match row {
                Ok(row) => {
                    assert!(!row.row.text.trim().is_empty() && !row.row.label.trim().is_empty());
                    row.row.line
                }
                Err(row) => {
                    assert!(!row.reason.is_empty());
                    row.line
                }
            };
            // JSON may have several rows on a line, and the rows of a sheet come as they stand in the file.
            assert!(line >= last_line || !detected.sheets.is_empty());
            last_line = line;
            Ok(true)
        });
        match outcome {
            Ok(()) | Err(ServiceError::User(_)) => Some(detected),
            Err(error) => panic!("{error}"),
        }
    })
}
