// @vitest-environment happy-dom
import { act, StrictMode, useEffect, type ReactNode } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createChat, memoryStorage, type Chat } from '../../src/index.js';
import { ChatProvider, useChat, useChatClient, useChats, useConnection, useSettings } from '../../src/react.js';

let chat: Chat;
let page: HTMLElement;
let root: Root | undefined;

beforeEach(() => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);
  page = document.body.appendChild(document.createElement('main'));
  chat = createChat({ url: 'http://127.0.0.1:1', token: async () => 'token', storage: memoryStorage() });
});
afterEach(async () => {
  await act(async () => root?.unmount());
  await chat.close();
  page.remove();
  root = undefined;
  vi.unstubAllGlobals();
});

function State(): ReactNode {
  return <p>{useConnection().state}</p>;
}

function Talk({ to }: { to: string }): ReactNode {
  const conversation = useChat(to);
  return <ul>{conversation?.messages.map((message) => <li key={message.key}>{message.text}</li>)}</ul>;
}

const show = (node: ReactNode): Promise<void> =>
  act(async () => {
    root = createRoot(page);
    root.render(
      <StrictMode>
        <ChatProvider chat={chat}>{node}</ChatProvider>
      </StrictMode>,
    );
  });

test('a component shows what is sent, at once', async () => {
  await show(<Talk to="bob" />);
  expect(page.textContent).toBe('');
  await act(async () => void chat.send('Bob', 'Hello'));
  expect(page.innerHTML).toBe('<ul><li>Hello</li></ul>');
});

test('the list of chats has a row for it', async () => {
  const renders = vi.fn();
  function List(): ReactNode {
    const { items } = useChats();
    renders();
    return items.map((item) => <p key={item.peer.username}>{`${item.peer.username}: ${item.lastMessage?.text}`}</p>);
  }
  await show(<List />);
  await act(async () => void chat.send('bob', 'Hello'));
  expect(page.textContent).toBe('bob: Hello');
  const before = renders.mock.calls.length;
  await act(async () => chat.typing('bob'));
  expect(renders.mock.calls.length).toBe(before);
});

test('a component chooses the list, and has the settings loaded', async () => {
  const load = vi.spyOn(chat, 'loadSettings').mockResolvedValue();
  function Both(): ReactNode {
    const { items, hasMore } = useChats('archived');
    return `${items.length} ${hasMore} ${useSettings()?.messagesFrom}`;
  }
  await act(async () => void chat.send('bob', 'Hello'));
  await show(<Both />);
  expect(page.textContent).toBe('0 true undefined');
  expect(load).toHaveBeenCalled();
});

test('an effect that connects and closes, as StrictMode runs it twice, leaves the client connecting', async () => {
  function App(): ReactNode {
    const client = useChatClient();
    useEffect(() => {
      client.connect();
      return () => void client.close();
    }, [client]);
    return <State />;
  }
  await show(<App />);
  expect(['connecting', 'offline']).toContain(page.textContent);
  expect(chat.getConnection().error?.code).not.toBe('closed');
});

test('a chat is opened when it is shown', async () => {
  const open = vi.spyOn(chat, 'open');
  await show(<Talk to="bob" />);
  expect(open).toHaveBeenCalledWith('bob');
});

test('a server renders a page, and a browser takes it over without a complaint', async () => {
  const app = (
    <StrictMode>
      <ChatProvider chat={chat}>
        <State />
        <Talk to="bob" />
      </ChatProvider>
    </StrictMode>
  );
  const html = renderToString(app);
  expect(html).toBe('<p>connecting</p><ul></ul>');
  page.innerHTML = html;
  chat.send('bob', 'Written before the page was taken over');
  const complain = vi.spyOn(console, 'error').mockImplementation(() => {});
  await act(async () => void (root = hydrateRoot(page, app)));
  expect(complain).not.toHaveBeenCalled();
  expect(page.textContent).toContain('Written before');
});

test('a hook outside of a provider says what is missing', () => {
  expect(() => renderToString(<State />)).toThrow('ChatProvider');
});
