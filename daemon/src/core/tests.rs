//! Events in, effects compared.
