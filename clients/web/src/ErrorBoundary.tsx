import { Component, type ReactNode } from 'react';

/** Shows one line instead of an empty page when something fails that nobody expected. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    return this.state.error ? <Notice>The page has failed: {this.state.error.message}</Notice> : this.props.children;
  }
}

/** One line instead of the page. */
export function Notice({ children }: { children: ReactNode }) {
  return (
    <p className="notice" role="alert">
      {children}{' '}
      <button type="button" className="button" onClick={() => location.reload()}>
        Reload
      </button>
    </p>
  );
}
