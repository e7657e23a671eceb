use super::{Pill, TableScroll, TimeStamp, Tone};
use domain::people::ApiKey;
use leptos::prelude::*;

/// Keys of programs, each with the button that revokes it.
#[component]
pub fn KeyTable(
    keys: Vec<ApiKey>,
    /// The server's time, by which keys expire.
    now_ms: i64,
    /// Where the number of a key is sent to revoke it.
    revoke: &'static str,
    /// Says whose each is.
    is_of_all: bool,
) -> impl IntoView {
    if keys.is_empty() {
        return view! { <p class="soft">"There are no keys."</p> }.into_any();
    }
    let rows = keys
        .into_iter()
        .map(|key| {
            let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
            let end = match key.expires_at_ms {
                Some(at_ms) if at_ms <= now_ms => {
                    view! { <Pill tone=Tone::Neutral>"expired"</Pill> <TimeStamp at_ms /> }.into_any()
                }
                Some(at_ms) => view! { <TimeStamp at_ms /> }.into_any(),
                None => view! { <span>"never"</span> }.into_any(),
            };
            let used = match key.used_at_ms {
                Some(at_ms) => view! { <TimeStamp at_ms /> }.into_any(),
                None => view! { <span>"never"</span> }.into_any(),
            };
            let owner = is_of_all.then(|| {
                view! { <td data-name="Owner">{key.owner.unwrap_or_else(|| "nobody".to_string())}</td> }
            });
            view! {
                <tr>
                    <th scope="row" class="main">
                        {key.name.clone()}
                        <code class="small soft">{key.hint} "…"</code>
                    </th>
                    {owner}
                    <td data-name="May">{scopes.join(", ")}</td>
                    <td class="soft" data-name="Expires">{end}</td>
                    <td class="soft" data-name="Last used">{used}</td>
                    <td>
                        <form method="post" action=revoke>
                            <input type="hidden" name="id" value=key.id.to_string() />
                            <button type="submit" class="button button-quiet" aria-label=format!("Revoke the key {}", key.name)>
                                "Revoke"
                            </button>
                        </form>
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <TableScroll label="Keys">
            <table class="table table-restack">
                <thead>
                    <tr>
                        <th scope="col">"Key"</th>
                        {is_of_all.then(|| view! { <th scope="col">"Owner"</th> })}
                        <th scope="col">"May"</th>
                        <th scope="col">"Expires"</th>
                        <th scope="col">"Last used"</th>
                        <th scope="col">
                            <span class="visually-hidden">"Revoke"</span>
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
    .into_any()
}
