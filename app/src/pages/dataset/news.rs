use super::open::{News, OpenDataset};
use super::words;
use crate::api::versions::undo_version;
use crate::components::{Button, ButtonKind, Tone};
use domain::version::{DatasetVersion, NOBODY, VersionNumber};
use leptos::prelude::*;

/// The bar at the bottom of the window: what has just been done, and the way back. It stays until it is closed or
/// something else has happened.
#[component]
pub fn NewsBar(dataset: OpenDataset) -> impl IntoView {
    let undo = Action::new(move |number: &VersionNumber| {
        let (number, by) = (*number, dataset.by());
        async move { dataset.take_in(undo_version(dataset.id, number, by).await) }
    });
    // Asked when the button is pressed: a button that stays while the news change keeps the handler that it was made with.
    let undo_news = move |_| {
        if let Some(News::Made(version)) = dataset.news.get_untracked() {
            undo.dispatch(version.number);
        }
    };
    let close = move |_| dataset.news.set(None);
    view! {
        // The region stands there from the start, so that screen readers read out what comes into it.
        <div class="news" role="status" aria-label="What has just happened">
            {move || {
                dataset
                    .news
                    .get()
                    .map(|news| {
                        let tone = match &news {
                            News::Made(_) => Tone::Good,
                            News::MadeByOthers(_) => Tone::Info,
                            News::Refused(_) => Tone::Bad,
                        };
                        let can_undo = matches!(news, News::Made(_));
                        view! {
                            <div class=format!("news-bar {}", tone.class())>
                                <p class="news-words">{in_words(&news)}</p>
                                {can_undo
                                    .then(|| {
                                        view! {
                                            <Button pending=undo.pending() on:click=undo_news>
                                                "Undo"
                                            </Button>
                                        }
                                    })}
                                <Button kind=ButtonKind::Quiet on:click=close>
                                    "Close"
                                </Button>
                            </div>
                        }
                    })
            }}
        </div>
    }
    .into_any()
}

fn in_words(news: &News) -> String {
    let version = |version: &DatasetVersion| format!("ersion {}: {}.", version.number, words::changes(version));
    match news {
        News::Made(made) => format!("V{}", version(made)),
        News::MadeByOthers(made) => {
            let by = if made.by == NOBODY { "Somebody" } else { made.by.as_str() };
            format!("{by} made v{}", version(made))
        }
        News::Refused(error) => error.message(),
    }
}
