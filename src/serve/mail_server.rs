//! The mail server and the kernel, asked what they are: at the start of a server that stands, and by a process of one
//! connection when its customer says ATRN, since most of what asks takes longer than a greeting may.

use super::kernel;
use crate::config;
use crate::handoff::HandoffError;
use crate::handoff::provider::ProviderHandoff;
use crate::wire::KernelTls;
use std::sync::OnceLock;
use tokio::sync::OnceCell;

/// What has been found out so far.
#[derive(Debug, Default)]
pub(super) struct MailServer {
    handoff: OnceCell<ProviderHandoff>,
    kernel: OnceLock<KernelTls>,
}

impl MailServer {
    /// Both have been asked.
    pub(super) fn known(handoff: ProviderHandoff, kernel: KernelTls) -> Self {
        Self {
            handoff: OnceCell::new_with(Some(handoff)),
            kernel: kernel.into(),
        }
    }

    /// How a turned connection is given to the mail server.
    ///
    /// # Errors
    /// When it cannot be asked, or is not one that is known: that is 451.
    pub(super) async fn handoff(
        &self,
        serve: &config::Serve,
    ) -> Result<&ProviderHandoff, HandoffError> {
        self.handoff
            .get_or_try_init(|| ProviderHandoff::new(serve))
            .await
    }

    /// Which sessions under TLS the kernel can carry.
    pub(super) fn kernel(&self, serve: &config::Serve) -> &KernelTls {
        self.kernel.get_or_init(|| kernel(serve))
    }
}
