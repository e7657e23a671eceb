use super::samples::here;
use crate::api::deployments::{CreateDemo, DeploymentData, RevokeDemo};
use crate::components::{Button, Card, ErrorNotice, Field, Pill, TimeStamp, Tone};
use crate::polled::Polled;
use domain::deployment::demo::{DEFAULT_COLOUR, Demo};
use leptos::prelude::*;

/// Pages for everybody who has their link: making them, and revoking them.
#[component]
pub fn Demos(data: Polled<DeploymentData>, name: String) -> impl IntoView {
    let create = ServerAction::<CreateDemo>::new();
    let revoke = ServerAction::<RevokeDemo>::new();
    data.look_after(*create);
    data.look_after(*revoke);
    let refused = move || {
        let outcomes = [create.value().get(), revoke.value().get()];
        outcomes.into_iter().flatten().find_map(Result::err).map(|error| view! { <ErrorNotice error /> })
    };
    let demos = Memo::new(move |_| {
        let data = data.value.read();
        data.demos.iter().map(|demo| (demo.clone(), demo.is_open_at(data.now_ms))).collect::<Vec<_>>()
    });
    let names = StoredValue::new(name.clone());
    view! {
        <section id="demos">
            <Card
                title="Demo pages"
                note="Whoever has the link can classify single texts and nothing else. It can stand in a frame of another page."
            >
                <div class="stack">
                    <div role="alert">{refused}</div>
                    <ActionForm action=create attr:class="demo-form">
                        <input type="hidden" name="name" value=name.clone() />
                        <Field label="Title" id="demo-title">
                            <input class="input" id="demo-title" name="title" maxlength="60" placeholder=name />
                        </Field>
                        <Field label="Logo text" id="demo-logo">
                            <input class="input" id="demo-logo" name="logo_text" maxlength="60" />
                        </Field>
                        <Field label="Colour" id="demo-colour">
                            <input class="input" type="color" id="demo-colour" name="colour" value=DEFAULT_COLOUR />
                        </Field>
                        <Field label="Days" id="demo-days" help="Empty: until it is revoked.">
                            <input
                                class="input"
                                type="number"
                                id="demo-days"
                                name="days"
                                min="1"
                                max="3650"
                                aria-describedby="demo-days-help"
                            />
                        </Field>
                        <div class="row">
                            <Button type_="submit" pending=create.pending()>
                                "Make a link"
                            </Button>
                        </div>
                    </ActionForm>
                    <ul class="demos">
                        <For
                            each=move || demos.get()
                            key=|(demo, is_open)| (demo.token.clone(), *is_open)
                            let((demo, is_open))
                        >
                            <DemoRow demo is_open name=names.get_value() revoke />
                        </For>
                    </ul>
                </div>
            </Card>
        </section>
    }
    .into_any()
}

#[component]
fn DemoRow(demo: Demo, is_open: bool, name: String, revoke: ServerAction<RevokeDemo>) -> impl IntoView {
    let path = format!("/demo/{}", demo.token);
    let standing = match (is_open, demo.revoked_at_ms, demo.expires_at_ms) {
        (_, Some(at_ms), _) => view! { <Pill tone=Tone::Neutral>"revoked"</Pill> <TimeStamp at_ms /> }.into_any(),
        (false, None, Some(at_ms)) => {
            view! { <Pill tone=Tone::Neutral>"expired"</Pill> <TimeStamp at_ms /> }.into_any()
        }
        (_, None, Some(at_ms)) => {
            view! { <Pill tone=Tone::Good>"open"</Pill> <span>"until " <TimeStamp at_ms /></span> }.into_any()
        }
        (_, None, None) => view! { <Pill tone=Tone::Good>"open"</Pill> <span>"until it is revoked"</span> }.into_any(),
    };
    let origin = here();
    let frame_path = path.clone();
    let frame = move || format!("<iframe src=\"{}{frame_path}\" width=\"400\" height=\"480\"></iframe>", origin.get());
    let label = format!("Revoke the link to {}", demo.brand.title);
    let token = StoredValue::new(demo.token);
    let name = StoredValue::new(name);
    let (title, label) = (demo.brand.title, StoredValue::new(label));
    view! {
        <li class="demo-row">
            <div class="row">
                <a href=path rel="external">
                    {title}
                </a>
                <span class="small soft row">{standing}</span>
                <Show when=move || is_open>
                    <ActionForm action=revoke>
                        <input type="hidden" name="name" value=name.get_value() />
                        <input type="hidden" name="token" value=token.get_value() />
                        <button
                            type="submit"
                            class="button button-quiet"
                            aria-label=label.get_value()
                            disabled=move || revoke.pending().get()
                        >
                            "Revoke"
                        </button>
                    </ActionForm>
                </Show>
            </div>
            {is_open.then(|| view! { <code class="small soft demo-frame">{frame}</code> })}
        </li>
    }
    .into_any()
}
