//! A chart that shows what a function says, and follows that, the page's size and its theme.

use super::instance::LiveChart;
use super::panel::Palette;
use crate::theme::{on_theme_change, token_color};
use leptos::ev;
use leptos::prelude::*;
use serde_json::Value;
use std::rc::Rc;

/// Draws into the element with this id until the current owner is cleaned up. `option` is given the page's colours and
/// those of the labels; what it reads of signals is drawn again when these change.
pub fn draw(
    id: &'static str,
    trouble: RwSignal<Option<String>>,
    option: impl Fn(&Palette, &[String]) -> Value + 'static,
) {
    draw_as(id, trouble, option, |chart| chart);
}

/// The same for charts that share the place of their tooltips.
pub fn draw_linked(
    id: &'static str,
    trouble: RwSignal<Option<String>>,
    option: impl Fn(&Palette, &[String]) -> Value + 'static,
) {
    draw_as(id, trouble, option, LiveChart::linked);
}

fn draw_as(
    id: &'static str,
    trouble: RwSignal<Option<String>>,
    option: impl Fn(&Palette, &[String]) -> Value + 'static,
    made: fn(LiveChart) -> LiveChart,
) {
    let chart = StoredValue::new_local(None::<LiveChart>);
    let option = Rc::new(move || option(&page_colors(), &label_colors()));
    // After a navigation within the page this runs before the element is in the document: hence the frame's wait.
    let first = Rc::clone(&option);
    request_animation_frame(move || {
        if document().get_element_by_id(id).is_none() {
            // The person has left the page already.
            return;
        }
        match LiveChart::mount(id, &untrack(|| first())) {
            Ok(mounted) => drop(chart.try_set_value(Some(made(mounted)))),
            Err(error) => drop(trouble.try_set(Some(error))),
        }
    });
    let with_chart = move |act: &dyn Fn(&LiveChart)| {
        chart.try_with_value(|chart| chart.as_ref().map(act));
    };
    let follow = Rc::clone(&option);
    Effect::new(move |before: Option<()>| {
        let option = follow();
        if before.is_some() {
            with_chart(&|chart| chart.merge(&option));
        }
    });
    on_theme_change(move || with_chart(&|chart| chart.replace(&untrack(|| option()))));
    let resized = window_event_listener(ev::resize, move |_| with_chart(&|chart| chart.resize()));
    on_cleanup(move || resized.remove());
}

/// The colours of the page as they are right now.
pub fn page_colors() -> Palette {
    Palette {
        text: token_color("--text"),
        muted: token_color("--text-soft"),
        line: token_color("--line"),
        surface: token_color("--surface"),
        first: token_color("--accent"),
        second: token_color("--label-1"),
    }
}

fn label_colors() -> Vec<String> {
    (0..8).map(|index| token_color(&format!("--label-{index}"))).collect()
}
