//! The browser's part of the charts: mounts them, feeds them, and lets them follow the page's size and theme.

use super::Look;
use crate::charts::curve::XAxis;
use crate::charts::instance::LiveChart;
use crate::charts::panel::Panel;
use crate::charts::still::page_colors;
use crate::live::LiveRun;
use crate::theme::on_theme_change;
use domain::run::RunPicture;
use leptos::ev;
use leptos::prelude::*;
use std::time::Duration;

/// Events may come faster than anybody can look: charts are fed this often at most.
const FEED_EVERY: Duration = Duration::from_millis(150);

/// How an option reaches a living chart.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Only the points, which have grown or are smoothed otherwise.
    Grow,
    /// All of it, over what is there: new colours, same zoom.
    Recolour,
    /// All of it, and nothing of what was there.
    Anew,
}

#[derive(Clone, Copy)]
struct Charts {
    live: LiveRun,
    look: Look,
    mounted: StoredValue<Vec<(Panel, LiveChart)>, LocalStorage>,
    /// Points drawn last: a run that was resumed from a checkpoint has fewer, and its charts begin anew.
    points: StoredValue<(usize, usize)>,
    feeding: StoredValue<bool>,
}

/// Draws the charts until the current owner is cleaned up.
pub fn draw(live: LiveRun, look: Look) {
    let charts = Charts {
        live,
        look,
        mounted: StoredValue::new_local(Vec::new()),
        points: StoredValue::new((0, 0)),
        feeding: StoredValue::new(false),
    };
    // After a navigation within the page this runs before the elements are in the document: hence the frame's wait.
    request_animation_frame(move || charts.mount());

    Effect::new(move |_| {
        live.picture.track();
        charts.feed_soon();
    });
    Effect::new(move |before: Option<()>| {
        look.axis.track();
        if before.is_some() {
            charts.show(How::Anew);
        }
    });
    Effect::new(move |before: Option<()>| {
        look.smoothing.track();
        if before.is_some() {
            charts.show(How::Grow);
        }
    });
    on_theme_change(move || charts.show(How::Recolour));
    let resized = window_event_listener(ev::resize, move |_| charts.resize());
    on_cleanup(move || resized.remove());
}

impl Charts {
    fn mount(self) {
        let palette = page_colors();
        let Some(x) = self.axis() else { return };
        let smoothing = self.look.smoothing.try_get_untracked().unwrap_or_default();
        let mounted = self.live.picture.try_with_untracked(|picture| {
            let mount = |panel: Panel| {
                let curves = panel.curves(picture, x, smoothing);
                LiveChart::mount(panel.id(), &panel.option(&curves, x.end(picture), x, &palette))
                    .map(|chart| (panel, chart.linked()))
            };
            (Panel::ALL.into_iter().map(mount).collect::<Result<Vec<_>, _>>(), size(picture))
        });
        match mounted {
            Some((Ok(charts), size)) => {
                self.points.try_set_value(size);
                self.mounted.try_set_value(charts);
            }
            Some((Err(trouble), _)) => {
                self.look.trouble.try_set(Some(trouble));
            }
            // The person has left the page already.
            None => {}
        }
    }

    fn feed_soon(self) {
        if self.feeding.try_get_value() != Some(false) {
            return;
        }
        self.feeding.set_value(true);
        set_timeout(
            move || {
                self.feeding.try_set_value(false);
                self.feed();
            },
            FEED_EVERY,
        );
    }

    fn feed(self) {
        let (Some(now), Some(drawn)) = (self.live.picture.try_with_untracked(size), self.points.try_get_value()) else {
            return;
        };
        if now == drawn {
            return;
        }
        self.points.try_set_value(now);
        self.show(if now.0 < drawn.0 || now.1 < drawn.1 { How::Anew } else { How::Grow });
        if drawn.0 == 0 {
            // They were out of sight until now and have had no size.
            request_animation_frame(move || self.resize());
        }
    }

    fn show(self, how: How) {
        let Some(x) = self.axis() else { return };
        let smoothing = self.look.smoothing.try_get_untracked().unwrap_or_default();
        let palette = (how != How::Grow).then(page_colors);
        self.live.picture.try_with_untracked(|picture| {
            let end = x.end(picture);
            self.mounted.try_with_value(|mounted| {
                for (panel, chart) in mounted {
                    let curves = panel.curves(picture, x, smoothing);
                    match (how, &palette) {
                        (How::Anew, Some(palette)) => chart.replace(&panel.option(&curves, end, x, palette)),
                        (How::Recolour, Some(palette)) => chart.merge(&panel.option(&curves, end, x, palette)),
                        _ => chart.merge(&Panel::patch(&curves, end)),
                    }
                }
            });
        });
    }

    fn resize(self) {
        self.mounted.try_with_value(|mounted| mounted.iter().for_each(|(_, chart)| chart.resize()));
    }

    fn axis(self) -> Option<XAxis> {
        self.look.axis.try_with_untracked(|word| XAxis::parse(word).unwrap_or_default())
    }
}

fn size(picture: &RunPicture) -> (usize, usize) {
    (picture.steps.len(), picture.validations.len())
}
