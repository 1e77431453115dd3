import type { ServerConnection } from './connection.js';
import type { Settings } from './contract.js';
import { Optimistic } from './optimistic.js';

/** The settings of the user, once the app has asked for them: from then on, as they are on all devices. */
export class OwnSettings {
  #settings: Optimistic<Settings> | undefined;
  #loading: Promise<void> | undefined;
  #isWanted = false;

  constructor(
    private readonly connection: ServerConnection,
    private readonly changed: () => void,
  ) {}

  /** The same object until something changes. */
  get snapshot(): Settings | undefined {
    return this.#settings?.shown;
  }

  /** Take what the server says. */
  take(settings: Settings): void {
    if (this.#settings) this.#settings.take(settings);
    else this.#settings = new Optimistic(settings);
    this.changed();
  }

  /** Read the settings. */
  load(): Promise<void> {
    this.#isWanted = true;
    return (this.#loading ??= this.connection
      .call('get_settings', {})
      .then(({ settings }) => this.take(settings))
      .finally(() => (this.#loading = undefined)));
  }

  /** Read the settings again, if the app has asked for them: they may have changed meanwhile. */
  refresh(): void {
    if (this.#isWanted) this.load().catch(() => {});
  }

  /** Change some settings. */
  async update(changes: Partial<Settings>): Promise<void> {
    const ask = async (): Promise<Settings> => (await this.connection.call('update_settings', changes)).settings;
    if (this.#settings) await this.#settings.attempt(() => changes, ask, this.changed);
    else this.take(await ask());
  }

  /** Forget everything: somebody else has signed in. */
  reset(): void {
    this.#settings = undefined;
  }
}
