import { useState } from 'react';

import { IconButton } from '../Icon';
import { Menu } from '../Menu';

interface Props {
  /** What the other user is called. */
  name: string;
  onClear: () => void;
}

/** Clears the chat for this user, once that is confirmed. */
export function ClearChat({ name, onClear }: Props) {
  const [button, setButton] = useState<HTMLElement>();
  return (
    <>
      <IconButton icon="clear" label="Clear chat" onClick={({ currentTarget }) => setButton(currentTarget)} />
      {button && (
        <Menu button={button} label="Clear this chat?" isAtEnd onClose={() => setButton(undefined)}>
          {(choose) => (
            <>
              <p>
                Clear this chat? Its messages go from all your devices. <bdi>{name}</bdi> keeps them.
              </p>
              <button type="button" autoFocus onClick={choose()}>
                Keep them
              </button>
              <button type="button" className="menu__danger" onClick={choose(onClear)}>
                Clear
              </button>
            </>
          )}
        </Menu>
      )}
    </>
  );
}
