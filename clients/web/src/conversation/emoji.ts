/** What emoji are made of. To look for emoji themselves takes a fifth of a second at first, so other texts are passed over. */
const PARTS = /^[\p{Emoji}\p{Emoji_Component}]+$/u;
const FEW = /^\p{RGI_Emoji}{1,3}$/v;

/** Whether a text is nothing but one to three emoji. */
export const isFewEmoji = (text: string): boolean => PARTS.test(text) && FEW.test(text);
