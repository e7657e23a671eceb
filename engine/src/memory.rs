//! Doing with the memory that a device has.

use crate::error::EngineError;

/// Tries with so many rows at a time, then with half as many, and so on, until the device's memory is enough. Returns
/// what came of it and the rows that fitted. A failed `attempt` must leave nothing behind.
pub fn with_fitting_rows<T>(
    mut rows: usize,
    mut attempt: impl FnMut(usize) -> Result<T, EngineError>,
) -> Result<(T, usize), EngineError> {
    loop {
        match attempt(rows) {
            Err(EngineError::OutOfMemory { .. }) if rows > 1 => rows /= 2,
            outcome => return outcome.map(|done| (done, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(most: usize, tried: &mut Vec<usize>, rows: usize) -> Result<&'static str, EngineError> {
        tried.push(rows);
        if rows <= most {
            return Ok("done");
        }
        Err(EngineError::OutOfMemory { device: "cuda:0".to_string(), wanted_bytes: 1 << 30 })
    }

    #[test]
    fn rows_are_halved_until_they_fit() {
        let mut tried = Vec::new();
        let (done, rows) = with_fitting_rows(13, |rows| holds(3, &mut tried, rows)).unwrap();
        assert_eq!((done, rows, tried.as_slice()), ("done", 3, &[13, 6, 3][..]));
        assert_eq!(with_fitting_rows(2, |rows| holds(8, &mut tried, rows)).unwrap().1, 2);
    }

    #[test]
    fn one_row_too_many_and_other_errors_end_it() {
        let mut tried = Vec::new();
        let error = with_fitting_rows(4, |rows| holds(0, &mut tried, rows)).unwrap_err();
        assert!(matches!(error, EngineError::OutOfMemory { .. }));
        assert_eq!(tried, [4, 2, 1]);
        let lost = with_fitting_rows(4, |_| Err::<(), _>(EngineError::DeviceLost("cuda:0 is gone".to_string())));
        assert!(matches!(lost, Err(EngineError::DeviceLost(_))));
    }
}
