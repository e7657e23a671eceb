//! Telling how far an examination is, and stopping it.

use crate::error::Result;
use domain::error::UserError;
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};

/// Rows that are looked at between two words about the progress.
const BLOCK: usize = 4096;
const BLOCKS_AT_ONCE: usize = 8;

type Hear<'a> = &'a mut dyn FnMut(&str, f64) -> ControlFlow<()>;

/// Where an examination stands: a step, and the stretch of the whole that it takes.
pub(super) struct Progress<'a> {
    hear: Option<Hear<'a>>,
    step: &'static str,
    from: f64,
    to: f64,
}

impl<'a> Progress<'a> {
    pub fn new(hear: Hear<'a>) -> Self {
        Self { hear: Some(hear), step: "", from: 0.0, to: 0.0 }
    }

    /// Tells nobody and is never stopped.
    pub fn silent() -> Self {
        Self { hear: None, step: "", from: 0.0, to: 0.0 }
    }

    /// Begins the next step, which ends at `to` of the whole.
    ///
    /// # Errors
    /// The listener wants no more.
    pub fn begin(&mut self, step: &'static str, to: f64) -> Result<()> {
        self.step = step;
        self.from = self.to;
        self.to = to;
        self.tell(0.0)
    }

    /// `share` of this step is done.
    ///
    /// # Errors
    /// The listener wants no more.
    pub fn tell(&mut self, share: f64) -> Result<()> {
        let Some(hear) = &mut self.hear else { return Ok(()) };
        match hear(self.step, self.from + (self.to - self.from) * share) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(UserError::conflict("The examination was stopped before its end.").into()),
        }
    }
}

/// Goes over all places on all cores, block by block, and tells how far it is. The results come in order.
pub(super) fn over_places<T: Send>(
    count: usize,
    progress: &mut Progress,
    look: impl Fn(Range<usize>) -> T + Sync,
) -> Result<Vec<T>> {
    let blocks: Vec<Range<usize>> = (0..count).step_by(BLOCK).map(|begin| begin..(begin + BLOCK).min(count)).collect();
    let mut results = Vec::with_capacity(blocks.len());
    for (done, some) in blocks.chunks(BLOCKS_AT_ONCE).enumerate() {
        progress.tell((done * BLOCKS_AT_ONCE) as f64 / blocks.len() as f64)?;
        results.par_extend(some.par_iter().map(|block| look(block.clone())));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_looked_at_once_and_in_order_until_it_is_stopped() {
        let mut shares = Vec::new();
        let mut hear = |step: &str, share: f64| {
            assert_eq!(step, "counting");
            shares.push(share);
            ControlFlow::Continue(())
        };
        let mut progress = Progress::new(&mut hear);
        progress.begin("counting", 0.5).unwrap();
        let looked = over_places(100_000, &mut progress, |places| places.collect::<Vec<_>>()).unwrap();
        assert!(looked.concat().into_iter().eq(0..100_000));
        assert!(shares.len() > 3 && shares.is_sorted() && shares.iter().all(|share| *share <= 0.5), "{shares:?}");

        let mut asked = 0;
        let mut stop = |_: &str, _| {
            asked += 1;
            if asked < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let error = over_places(1_000_000, &mut Progress::new(&mut stop), |places| places.len()).unwrap_err();
        assert!(error.to_string().contains("stopped"));
    }
}
