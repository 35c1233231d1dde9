//! Lists that come in pages.
//!
//! In: a request for a list. Out: its items. Pages are asked for by number. The `link` header only
//! says whether there is another one: its addresses are never followed, so that no answer can send
//! the token to another host.

use http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::{Answer, GitHub, GitHubError, Request};

/// The most items GitHub gives at once.
pub const PER_PAGE: usize = 100;
/// A server that never ends its list is stopped here.
const PAGES: usize = 100;

impl GitHub {
    /// Reads a list page by page until it ends or `most` items are there; no more than `most` are
    /// given back. `W` is one page's JSON, `items` takes the list out of it.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`], and [`GitHubError::Answer`] when the list does not end.
    pub async fn pages<T, W>(
        &self,
        request: Request,
        most: usize,
        items: fn(W) -> Vec<T>,
    ) -> Result<Vec<T>, GitHubError>
    where
        W: DeserializeOwned,
    {
        let per_page = most.clamp(1, PER_PAGE);
        let request = request.query("per_page", &per_page.to_string());
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let numbered = request.clone().query("page", &page.to_string());
            let Answer { value, headers } = self.ask::<W>(&numbered).await?;
            let found = items(value);
            let end = found.is_empty() || !has_next(found.len(), per_page, &headers);
            all.extend(found);
            if end || all.len() >= most {
                all.truncate(most);
                return Ok(all);
            }
        }
        Err(GitHubError::Answer {
            action: request.operation.action,
            detail: format!("the list does not end after {PAGES} pages"),
        })
    }
}

/// Whether another page follows one of `items`. The `link` header decides; without it, whether the
/// page is full.
pub fn has_next(items: usize, per_page: usize, headers: &HeaderMap) -> bool {
    let mut links = headers.get_all(header::LINK).iter().peekable();
    if links.peek().is_none() {
        return items >= per_page;
    }
    links
        .filter_map(|link| link.to_str().ok())
        .any(|link| relations(link).any(|relation| relation == "next"))
}

/// The relations of a `link` header's targets (RFC 8288, section 3). What stands in angle brackets
/// is an address and no parameter.
fn relations(link: &str) -> impl Iterator<Item = String> {
    let mut in_address = false;
    let outside = move |letter: &char| {
        match letter {
            '<' => in_address = true,
            '>' => in_address = false,
            _ => {}
        }
        !in_address
    };
    let parameters: String = link.chars().filter(outside).collect();
    let words: Vec<String> = parameters
        .split([';', ','])
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"))
        .flat_map(|(_, value)| value.trim().trim_matches('"').split_whitespace())
        .map(str::to_ascii_lowercase)
        .collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(link: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::LINK, link.parse().unwrap())]);
        has_next(PER_PAGE, PER_PAGE, &headers)
    }

    #[test]
    fn the_link_decides() {
        assert!(after(
            "<https://h/x?page=1>; rel=\"prev\", <https://h/x?page=3>; rel=\"next\""
        ));
        assert!(after("<https://h/x?page=3>; REL=next"));
        assert!(after("<https://h/x>; title=\"x\"; rel=\"last next\""));
        assert!(!after("<https://h/x?page=1>; rel=\"prev\""));
        // A relation inside an address is none.
        assert!(!after("<https://h/x?a;rel=\"next\">; rel=\"first\""));
        assert!(!after("<https://h/x>; rel=\"nextish\""));
    }

    #[test]
    fn without_a_link_a_full_page_is_not_the_last() {
        let none = HeaderMap::new();
        assert!(!has_next(99, PER_PAGE, &none));
        assert!(has_next(100, PER_PAGE, &none));
    }

    proptest! {
        #[test]
        fn any_link_is_read(link in "\\PC{0,80}") {
            prop_assert!(relations(&link).all(|relation| !relation.contains(' ')));
        }
    }
}
