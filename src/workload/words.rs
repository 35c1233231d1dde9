//! The words that prompts are made of.

/// 256 different words of four letters, one for each byte of a nonce. Hexadecimal digits would
/// do, but tokenizers cut those into pieces whose number depends on the digits; common short
/// words are nearly always one token each, so that the prompt's length in tokens stays the same.
const NONCE_WORDS: &str = "\
    able acid also army baby ball band base bear been belt best bird blue body bone born \
    both burn busy call came camp care case cast chat chip clay club coat cold cook cool \
    copy corn crew dark data dawn dead dear deck deep desk diet dock dose draw drop dual \
    dust each east easy else ever face fair fall fast fear feel fell file fill find fire \
    fish flag flat folk foot fort free from full gain gate gear girl give goal gold gone \
    gray grew grow hair hall hang hard have hear held here high hill hold home host huge \
    hunt inch iron join jump keen kept kind knee know lack lake land last lead leaf \
    left less lift line link list load lock look loss loud luck mail make mark mass mean \
    meet mild milk mill mine mode moon most much must navy neck news nice nine noon note \
    oral pace pack paid palm part path pick pine pipe play plus poet pole poor post pure \
    race rail rank rate real rely rest rice ride rise road role roll room rope rule safe \
    sail same save seed seem self sell ship shot sick side sign silk size snow soil sole some \
    soon soul spot stay step stop suit take talk tank tape team tend term text than them \
    they this tile tiny tone tool tree true tune turn type upon user very view wage wake \
    wall warm wave weak week went west when wide wild wind wing wise wish wolf word work \
    year";

/// Words of the text behind the nonce.
const TEXT_WORDS: &str = "\
    the of and to in is that for it as was with be by on not he his but at are this have \
    from or had an they which one you were all her she there would their we him been has \
    when who will no more if out so said what up its about into than them can only other \
    time new some could these two may first then do any like my now over such our man me \
    even most made after also did many off before must well back through years much where \
    your way down should because long each just state those people too how little good world \
    make very year still see own work men day get here old between both life being under \
    three never know same last another while us might great go come since against right came \
    take used himself few house use place during without again home around small however \
    found part school once general high upon every left number course war until always away \
    something fact water less public put thing almost hand enough far took head yet \
    government system better set told nothing night end why called eyes find going look \
    asked later point knew next program city business give group toward days young let room \
    within power order important side social face often given several national early local \
    large among rather different possible light interest kind change study book river \
    mountain garden window letter morning evening summer winter forest market bridge kitchen \
    doctor teacher music picture story island engine paper metal silver yellow simple quiet \
    gentle heavy narrow distant careful common certain recent modern ancient bright steady";

/// For tokenizers that cut nearly every word: what is left to choose from. Short texts are the
/// least likely to be cut.
const SPARE_WORDS: &str = "\
    a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 . , ; : ! ?";

/// What a word is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nonces.
    Nonce,
    /// The text behind them.
    Text,
    /// Text, where there is nothing better.
    Spare,
}

/// Every word, always in the same order.
pub(super) fn all() -> impl Iterator<Item = (Role, &'static str)> {
    let list = |role, words: &'static str| words.split_whitespace().map(move |word| (role, word));
    list(Role::Nonce, NONCE_WORDS)
        .chain(list(Role::Text, TEXT_WORDS))
        .chain(list(Role::Spare, SPARE_WORDS))
}
