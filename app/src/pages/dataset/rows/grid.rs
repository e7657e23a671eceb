use super::super::open::OpenDataset;
use super::super::words;
use super::editor::RowEditor;
use super::label_names;
use super::scroller::{Place, Scroller};
use super::store::RowStore;
use crate::components::{LabelName, MarkedText};
use crate::difference::occurrences;
use crate::format;
use domain::version::{NumberedRow, RowQuery};
use leptos::prelude::*;
use leptos::{ev, html};
use std::ops::Range;
use std::time::Duration;

/// Rows that are drawn above and below those in sight.
const AROUND: u64 = 8;
/// Of a text; a row has room for two lines of it.
const SHOWN_CHARS: usize = 600;
/// Before rows that came into sight are fetched: who drags the scroll bar passes thousands.
const FETCH_AFTER: Duration = Duration::from_millis(60);
/// Without scrolling, until the scroll bar is put where it belongs.
const REST_AFTER: Duration = Duration::from_millis(160);

/// What an open editor is about.
#[derive(Clone, Debug, PartialEq)]
struct Edited {
    /// Place among the matching rows.
    place: u64,
    row: NumberedRow,
}

#[derive(Clone, Copy)]
struct Grid {
    store: RowStore,
    element: NodeRef<html::Div>,
    head: NodeRef<html::Div>,
    place: RwSignal<Place>,
    row_height: RwSignal<f64>,
    view: RwSignal<f64>,
    /// The row that the keyboard is on, among the matching ones.
    active: RwSignal<Option<u64>>,
    edited: RwSignal<Option<Edited>>,
    can_edit: Memo<bool>,
}

/// All matching rows in a window that scrolls over them. What comes into sight is fetched.
#[component]
pub fn RowGrid(
    dataset: OpenDataset,
    store: RowStore,
    question: Memo<RowQuery>,
    /// Row to begin with.
    from: u64,
) -> impl IntoView {
    let grid = Grid {
        store,
        element: NodeRef::new(),
        head: NodeRef::new(),
        place: RwSignal::new(Place::default()),
        row_height: RwSignal::new(0.0),
        view: RwSignal::new(0.0),
        active: RwSignal::new(None),
        edited: RwSignal::new(None),
        can_edit: Memo::new(move |_| dataset.is_newest()),
    };
    grid.follow_window(from);
    grid.follow_question(question);
    let drawn = Memo::new(move |_| {
        let range = grid.scroller().visible(grid.place.get(), AROUND);
        (range.start, range.end)
    });
    grid.fetch_what_is_drawn(drawn);
    let labels = Memo::new(move |_| {
        dataset.version.track();
        label_names(dataset)
    });
    let window_top = move || {
        let place = grid.place.get();
        let first = drawn.get().0 as f64 * grid.row_height.get();
        format!("transform:translateY({:.1}px)", place.top + first - place.offset)
    };
    let space = move || format!("height:{:.0}px", grid.scroller().height());
    let active_id = move || {
        let (first, end) = drawn.get();
        grid.active.get().filter(|row| (first..end).contains(row)).map(row_id)
    };
    view! {
        <div class="grid-frame" class:is-editing=move || grid.edited.read().is_some()>
            <div
                class="grid"
                role="grid"
                aria-label="Rows"
                aria-rowcount=move || (store.matching.get() + 1).to_string()
                aria-colcount="4"
                aria-activedescendant=active_id
                aria-describedby="grid-help"
                tabindex="0"
                node_ref=grid.element
                hidden=move || store.matching.get() == 0
                on:scroll=move |_| grid.scrolled()
                on:keydown=move |event| grid.key(&event)
                on:focus=move |_| grid.begin()
            >
                <div class="grid-head" role="rowgroup" node_ref=grid.head>
                    <div class="grid-row" role="row" aria-rowindex="1">
                        {HEADS.map(|(class, head)| view! { <span role="columnheader" class=class>{head}</span> }).collect_view()}
                    </div>
                </div>
                <div class="grid-space" role="rowgroup" style=space>
                    <div class="grid-window" role="presentation" style=window_top>
                        <For
                            each=move || {
                                let (first, end) = drawn.get();
                                first..end
                            }
                            key=|place| *place
                            children=move |place| view! { <GridRow grid place labels question /> }
                        />
                    </div>
                </div>
            </div>
            // Over the rows and no part of them: what is in a grid has to be a row.
            <For
                each=move || grid.edited.get()
                key=|edited| (edited.place, edited.row.id)
                children=move |Edited { place, row }| {
                    view! {
                        <div class="grid-editor" style=move || grid.editor_place(place)>
                            <RowEditor
                                dataset
                                question
                                place
                                row
                                labels=labels.get_untracked()
                                on_close=Callback::new(move |()| grid.end_edit())
                            />
                        </div>
                    }
                }
            />
        </div>
        <p class="small soft" id="grid-help" hidden=move || store.matching.get() == 0>
            {move || match grid.can_edit.get() {
                true => "Arrows, Page Up and Down, Home and End move; Enter edits the row.",
                false => "Arrows, Page Up and Down, Home and End move.",
            }}
        </p>
    }
    .into_any()
}

const HEADS: [(&str, &str); 4] =
    [("grid-line", "Line"), ("grid-text", "Text"), ("grid-label", "Label"), ("grid-marks", "Findings")];

fn row_id(place: u64) -> String {
    format!("row-{place}")
}

impl Grid {
    fn scroller(self) -> Scroller {
        Scroller { rows: self.store.matching.get(), row_height: self.row_height.get(), view: self.view.get() }
    }

    /// The same as it is right now; of nothing where the page has been left.
    fn scroller_now(self) -> Scroller {
        Scroller {
            rows: self.store.matching.try_get_untracked().unwrap_or_default(),
            row_height: self.row_height.try_get_untracked().unwrap_or_default(),
            view: self.view.try_get_untracked().unwrap_or_default(),
        }
    }

    /// The editor stands on its row; the style sheet keeps it within the frame.
    fn editor_place(self, of: u64) -> String {
        let head = self.head.get().map_or(0, |head| head.offset_height());
        let top = of as f64 * self.row_height.get() - self.place.get().offset;
        format!("--row-top:{:.0}px", f64::from(head) + top)
    }

    /// Measures now and whenever the browser's window changes; begins at row `from`.
    fn follow_window(self, from: u64) {
        Effect::new(move |_| {
            if self.element.get().is_none() {
                return;
            }
            // Once it is in the document and has a size.
            request_animation_frame(move || {
                self.measure();
                if from > 0 && self.place.try_get_untracked() == Some(Place::default()) {
                    let offset = from as f64 * self.row_height.try_get_untracked().unwrap_or_default();
                    self.go(self.scroller_now().jump(offset));
                }
            });
        });
        // Fewer or more rows may make the window lower or higher.
        Effect::new(move |_| {
            self.store.matching.track();
            request_animation_frame(move || self.measure());
        });
        let listener = window_event_listener(ev::resize, move |_| self.measure());
        on_cleanup(move || listener.remove());
    }

    fn measure(self) {
        let Some(element) = self.element.try_get_untracked().flatten() else { return };
        let head = self.head.try_get_untracked().flatten().map_or(0, |head| head.offset_height());
        let height = row_height(&element).unwrap_or(56.0);
        let view = f64::from(element.client_height() - head).max(height);
        if self.row_height.try_get_untracked() != Some(height) {
            self.row_height.try_set(height);
        }
        if self.view.try_get_untracked() != Some(view) {
            self.view.try_set(view);
        }
    }

    /// Another search or filter begins at the top; another version of the same rows stays where it is.
    fn follow_question(self, question: Memo<RowQuery>) {
        Effect::new(move |before: Option<RowQuery>| {
            let now = question.get();
            let Some(before) = before.filter(|before| *before != now) else { return now };
            let same_filter = RowQuery { version: now.version, ..before } == now;
            self.store.ask_anew(same_filter);
            if !same_filter {
                self.active.set(None);
                self.edited.set(None);
                self.go(Place::default());
            }
            now
        });
    }

    fn fetch_what_is_drawn(self, drawn: Memo<(u64, u64)>) {
        Effect::new(move |_| {
            let (first, end) = drawn.get();
            self.store.round.track();
            let fetch = move || self.store.fetch_missing(Range { start: first, end });
            if let Ok(timer) = set_timeout_with_handle(fetch, FETCH_AFTER) {
                on_cleanup(move || timer.clear());
            }
        });
        // After the last step of scrolling.
        Effect::new(move |_| {
            self.place.track();
            let rest = move || {
                let scroller = self.scroller_now();
                let Some(place) = self.place.try_get_untracked().filter(|_| scroller.is_scaled()) else { return };
                if (scroller.rested(place).top - place.top).abs() > 1.0 {
                    self.go(scroller.rested(place));
                }
            };
            if let Ok(timer) = set_timeout_with_handle(rest, REST_AFTER) {
                on_cleanup(move || timer.clear());
            }
        });
    }

    fn scrolled(self) {
        let Some(element) = self.element.get_untracked() else { return };
        let (top, place) = (f64::from(element.scroll_top()), self.place.get_untracked());
        if top != place.top {
            self.place.set(self.scroller_now().scrolled(place, top));
        }
    }

    /// Scrolls there by itself.
    fn go(self, to: Place) {
        let Some(element) = self.element.try_get_untracked().flatten() else { return };
        element.set_scroll_top(to.top.round() as i32);
        // As the browser has rounded it, so that its own report of this changes nothing.
        let top = f64::from(element.scroll_top());
        self.place.try_set(Place { top, offset: if self.scroller_now().is_scaled() { to.offset } else { top } });
    }

    /// The keyboard comes in: on the first row in sight.
    fn begin(self) {
        if self.active.get_untracked().is_none() && self.store.matching.get_untracked() > 0 {
            let scroller = self.scroller_now();
            let offset = self.place.get_untracked().offset;
            self.active.set(Some(scroller.visible(Place { top: 0.0, offset }, 0).start));
        }
    }

    fn key(self, event: &ev::KeyboardEvent) {
        let Some(last) = self.store.matching.get_untracked().checked_sub(1) else { return };
        if event.alt_key() || event.ctrl_key() || event.meta_key() {
            return;
        }
        let active = self.active.get_untracked().unwrap_or_default();
        let page = self.scroller_now().rows_in_view();
        let to = match event.key().as_str() {
            "ArrowDown" => active.saturating_add(1),
            "ArrowUp" => active.saturating_sub(1),
            "PageDown" => active.saturating_add(page),
            "PageUp" => active.saturating_sub(page),
            "Home" => 0,
            "End" => last,
            "Enter" | "F2" => {
                event.prevent_default();
                self.edit(active);
                return;
            }
            _ => return,
        };
        event.prevent_default();
        self.move_to(to.min(last));
    }

    fn move_to(self, row: u64) {
        self.active.set(Some(row));
        if let Some(place) = self.scroller_now().reveal(self.place.get_untracked(), row) {
            self.go(place);
        }
    }

    fn edit(self, place: u64) {
        let row = untrack(|| self.store.row(place));
        if let (true, Some(row)) = (self.can_edit.get_untracked(), row) {
            self.active.set(Some(place));
            self.edited.set(Some(Edited { place, row }));
        }
    }

    /// The keyboard goes back to the rows.
    fn end_edit(self) {
        self.edited.try_set(None);
        if let Some(element) = self.element.try_get_untracked().flatten() {
            // It fails only where the element is gone.
            let _ = element.focus();
        }
    }
}

/// `--row-height`, which the style sheet sets in pixels, another on narrow pages.
fn row_height(element: &leptos::web_sys::Element) -> Option<f64> {
    let style = window().get_computed_style(element).ok()??;
    style.get_property_value("--row-height").ok()?.trim().strip_suffix("px")?.parse().ok()
}

#[component]
fn GridRow(grid: Grid, place: u64, labels: Memo<Vec<String>>, question: Memo<RowQuery>) -> impl IntoView {
    let row = Memo::new(move |_| grid.store.row(place));
    let content = move || match row.get() {
        Some(row) => {
            view! { <Cells grid place row labels=labels.get() search=question.read().search.clone() /> }.into_any()
        }
        None => view! {
            <span role="gridcell" class="grid-line soft number"></span>
            <span role="gridcell" class="grid-text">
                <span class="grid-placeholder">
                    <span class="visually-hidden">"being fetched"</span>
                </span>
            </span>
            <span role="gridcell" class="grid-label"></span>
            <span role="gridcell" class="grid-marks"></span>
        }
        .into_any(),
    };
    view! {
        <div
            class="grid-row"
            class:is-active=move || grid.active.get() == Some(place)
            role="row"
            id=row_id(place)
            // The head is the first.
            aria-rowindex=(place + 2).to_string()
            on:mousedown=move |_| grid.active.set(Some(place))
            on:dblclick=move |_| grid.edit(place)
        >
            {content}
        </div>
    }
    .into_any()
}

#[component]
fn Cells(grid: Grid, place: u64, row: NumberedRow, labels: Vec<String>, search: String) -> impl IntoView {
    let index = labels.iter().position(|label| *label == row.label);
    let words: Vec<&str> = search.split_whitespace().collect();
    let shown = format::excerpt(&row.text, SHOWN_CHARS);
    let text = occurrences(&shown, &words);
    let part = row.part.map(|part| view! { <span class="small soft">{part.name()}</span> });
    let names: Vec<&str> = row.findings.iter().map(|kind| words::finding_name(*kind)).collect();
    let changed = row.is_changed.then_some("changed");
    let marks = names.iter().copied().chain(changed).map(|name| view! { <span class="grid-mark">{name}</span> });
    let marks = marks.collect_view();
    let button_label = format!("Edit the row of line {}", row.line);
    view! {
        <span role="gridcell" class="grid-line soft number">
            {format::count(row.line)}
        </span>
        <span role="gridcell" class="grid-text" title=shown>
            <MarkedText stretches=text />
        </span>
        <span role="gridcell" class="grid-label">
            <LabelName index name=row.label.clone() />
            {part}
        </span>
        <span role="gridcell" class="grid-marks">
            <span class="grid-mark-list" title=names.join(", ")>
                {marks}
            </span>
            <Show when=move || grid.can_edit.get()>
                // Reached with Enter from the keyboard: thousands of buttons would stand in Tab's way.
                <button
                    type="button"
                    class="button button-quiet grid-edit"
                    tabindex="-1"
                    aria-label=button_label.clone()
                    on:click=move |_| grid.edit(place)
                >
                    "Edit"
                </button>
            </Show>
        </span>
    }
    .into_any()
}
