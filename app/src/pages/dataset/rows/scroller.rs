//! Where rows of one height stand in a window that scrolls over all of them. Browsers draw no element that is taller than
//! some millions of pixels, so a long list is scrolled through a shorter one: small steps move it by as many pixels,
//! long ones by their share of the whole.

use std::ops::Range;

/// Tallest list in pixels: Firefox ends at 17.9 million, Chromium at 33.5 million.
const TALLEST: f64 = 8_000_000.0;

/// Sizes in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scroller {
    pub rows: u64,
    pub row_height: f64,
    /// Height of the part that is seen.
    pub view: f64,
}

/// Where the list stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// How far the browser has scrolled.
    pub top: f64,
    /// How far down all the rows that is.
    pub offset: f64,
}

impl Scroller {
    /// Height of the scrolled element.
    pub fn height(&self) -> f64 {
        self.content().min(TALLEST)
    }

    fn content(&self) -> f64 {
        self.rows as f64 * self.row_height
    }

    fn last_offset(&self) -> f64 {
        (self.content() - self.view).max(0.0)
    }

    fn last_top(&self) -> f64 {
        (self.height() - self.view).max(0.0)
    }

    pub fn is_scaled(&self) -> bool {
        self.content() > TALLEST
    }

    /// The place for an offset that is asked for.
    pub fn jump(&self, offset: f64) -> Place {
        let offset = offset.clamp(0.0, self.last_offset());
        let top = if self.is_scaled() { offset * self.last_top() / self.last_offset() } else { offset };
        Place { top, offset }
    }

    /// The place after the browser has scrolled to `top`.
    pub fn scrolled(&self, before: Place, top: f64) -> Place {
        if !self.is_scaled() {
            return Place { top, offset: top };
        }
        let step = top - before.top;
        let offset = if top <= 0.0 {
            0.0
        } else if top >= self.last_top() - 1.0 {
            self.last_offset()
        } else if step.abs() <= self.view {
            before.offset + step
        } else {
            top * self.last_offset() / self.last_top()
        };
        Place { top, offset: offset.clamp(0.0, self.last_offset()) }
    }

    /// The same rows with the scroll bar where it belongs: small steps have moved it too far.
    pub fn rested(&self, place: Place) -> Place {
        self.jump(place.offset)
    }

    /// Rows in sight, and `around` more on both sides.
    pub fn visible(&self, place: Place, around: u64) -> Range<u64> {
        if self.row_height <= 0.0 {
            return 0..0;
        }
        let first = (place.offset / self.row_height).floor().max(0.0) as u64;
        let end = ((place.offset + self.view) / self.row_height).ceil().max(0.0) as u64;
        first.saturating_sub(around).min(self.rows)..end.saturating_add(around).min(self.rows)
    }

    /// Rows that fit into the view whole; at least one.
    pub fn rows_in_view(&self) -> u64 {
        if self.row_height <= 0.0 { 1 } else { ((self.view / self.row_height).floor() as u64).max(1) }
    }

    /// The nearest place at which the row is in sight; `None`: it is.
    pub fn reveal(&self, place: Place, row: u64) -> Option<Place> {
        let top = row as f64 * self.row_height;
        let bottom = top + self.row_height;
        if top < place.offset {
            Some(self.jump(top))
        } else if bottom > place.offset + self.view {
            Some(self.jump(bottom - self.view))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Scroller = Scroller { rows: 1000, row_height: 50.0, view: 500.0 };
    const LONG: Scroller = Scroller { rows: 1_000_000, row_height: 50.0, view: 500.0 };

    #[test]
    fn a_short_list_scrolls_as_the_browser_does() {
        assert_eq!(SHORT.height(), 50_000.0);
        let place = SHORT.scrolled(Place::default(), 1234.0);
        assert_eq!(place, Place { top: 1234.0, offset: 1234.0 });
        assert_eq!(SHORT.visible(place, 2), 22..37);
        assert_eq!(SHORT.visible(Place::default(), 5), 0..15);
        assert_eq!(SHORT.visible(SHORT.jump(1e12), 5), 985..1000);
    }

    #[test]
    fn a_long_list_moves_by_pixels_and_jumps_by_shares() {
        assert_eq!(LONG.height(), TALLEST);
        let place = LONG.scrolled(Place::default(), 100.0);
        assert_eq!(place.offset, 100.0);
        let half = LONG.scrolled(place, LONG.last_top() / 2.0);
        assert!((half.offset - LONG.last_offset() / 2.0).abs() < 1.0);
        let on = LONG.scrolled(half, half.top + 37.0);
        assert_eq!(on.offset, half.offset + 37.0);
    }

    #[test]
    fn every_row_can_be_reached() {
        assert_eq!(LONG.scrolled(Place::default(), LONG.last_top()).offset, LONG.last_offset());
        assert_eq!(LONG.visible(LONG.jump(f64::MAX), 0), 999_990..1_000_000);
        for row in [0, 1, 499_999, 999_999] {
            let place = LONG.reveal(LONG.jump(25e6 + 3.0), row).unwrap_or(LONG.jump(25e6 + 3.0));
            assert!(LONG.visible(place, 0).contains(&row), "{row} at {place:?}");
            assert_eq!(LONG.reveal(place, row), None);
        }
    }

    #[test]
    fn at_rest_the_bar_stands_where_the_rows_do() {
        let mut place = LONG.jump(1e7);
        for _ in 0..100 {
            place = LONG.scrolled(place, place.top + 120.0);
        }
        let rested = LONG.rested(place);
        assert_eq!(rested.offset, place.offset);
        assert!((rested.top / LONG.last_top() - rested.offset / LONG.last_offset()).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_show_is_no_trouble() {
        let empty = Scroller { rows: 0, row_height: 50.0, view: 500.0 };
        assert_eq!((empty.height(), empty.visible(Place::default(), 9)), (0.0, 0..0));
        let unmeasured = Scroller { rows: 10, row_height: 0.0, view: 0.0 };
        assert_eq!((unmeasured.visible(Place::default(), 9), unmeasured.rows_in_view()), (0..0, 1));
    }
}
